import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.apache.logging.log4j.ThreadContext;

/** Writes a line at each level, with a field. */
public class Main {
    public static void main(String[] args) {
        Logger logger = LogManager.getLogger("orders");
        ThreadContext.put("order", "42");
        logger.trace("a trace \"line\"");
        logger.debug("a debug \"line\"");
        logger.info("a info \"line\"");
        logger.warn("a warn \"line\"");
        logger.error("a error \"line\"", new IllegalStateException("no stock"));
        logger.fatal("a fatal \"line\"");
    }
}
