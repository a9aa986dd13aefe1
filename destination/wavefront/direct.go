package wavefront

import (
	"bytes"
	"context"
	"sync"

	"github.com/klauspost/compress/gzip"

	"slipstream/destination"
)

// direct posts lines.
type direct struct {
	config  Config
	http    *destination.HTTPClient
	secrets []string

	mu     sync.Mutex
	taken  map[string]int // how many parts of a batch there are, until all are
	zipper *gzip.Writer
}

// maxTaken bounds the batches that are remembered to be there in part.
const maxTaken = 64

// Close ends a Send under way and drops the connections.
func (d *direct) Close() error { return d.http.Close() }

// part is the lines of one kind.
type part struct {
	format string // what Wavefront calls it
	lines  []byte
}

// parts cuts a body where the second kind of lines begins. Each kind is a
// request of its own.
func (d *direct) parts(body []byte) []part {
	first, second, begin := "wavefront", "histogram", []byte("\n!")
	if d.config.Signal == "traces" {
		first, second, begin = "trace", "spanLogs", []byte("\n{")
	}
	cut := len(body)
	if bytes.HasPrefix(body, begin[1:]) {
		cut = 0
	} else if i := bytes.Index(body, begin); i >= 0 {
		cut = i + 1
	}
	var list []part
	if cut > 0 {
		list = append(list, part{first, body[:cut]})
	}
	if cut < len(body) {
		list = append(list, part{second, body[cut:]})
	}
	return list
}

// Send posts the batch, a request for each kind of line. When only the first was
// taken, the next Send of the batch begins with the second. After an answer that
// was lost on the way Wavefront may hold lines twice: points replace each other,
// delta counters and distributions count double.
func (d *direct) Send(ctx context.Context, b *destination.Batch) error {
	d.mu.Lock()
	done := d.taken[b.ID]
	d.mu.Unlock()
	list := d.parts(b.Body)
	for i := min(done, len(list)); i < len(list); i++ {
		if err := d.post(ctx, b, list[i]); err != nil {
			if destination.Permanent(err) {
				d.remember(b.ID, 0)
			}
			return err
		}
		d.remember(b.ID, i+1)
	}
	d.remember(b.ID, 0)
	return nil
}

// remember notes how many parts of a batch are there; 0 for nothing to note.
func (d *direct) remember(id string, parts int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if parts == 0 {
		delete(d.taken, id)
		return
	}
	if len(d.taken) >= maxTaken {
		clear(d.taken) // doubles are better than a list that grows for ever
	}
	d.taken[id] = parts
}

func (d *direct) post(ctx context.Context, b *destination.Batch, p part) error {
	u := *d.config.URL
	u.RawQuery = "f=" + p.format
	one := *b
	one.ID, one.Encoding, one.Body = b.ID+"-"+p.format, "gzip", d.compress(p.lines)
	resp, err := d.http.Post(ctx, &u, d.config.Header, &one)
	if err != nil {
		return destination.NoAnswer("report "+p.format, d.config.target(), err)
	}
	if resp.Status/100 == 2 && !resp.IsPage() {
		return nil
	}
	return resp.Refused("report "+p.format, d.config.target(), &advice, d.secrets)
}

// compress gives lines as gzip. The body is compressed here and not by the lane,
// because only here it is cut.
func (d *direct) compress(lines []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out bytes.Buffer
	if d.zipper == nil {
		d.zipper, _ = gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is right
	}
	d.zipper.Reset(&out)
	_, _ = d.zipper.Write(lines) // into memory
	_ = d.zipper.Close()
	return out.Bytes()
}
