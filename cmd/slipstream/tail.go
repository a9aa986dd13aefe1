package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"slipstream/tail"
	"slipstream/telemetry"
)

const tailSynopsis = `tail [flags] [SOURCE...]

Shows what an extension delivers, as it comes, until Ctrl-C. A SOURCE is
  /folder or file:///folder        what a file:// destination writes
  otlp+http://127.0.0.1:4319       the same as --listen 127.0.0.1:4319
Logs and spans are lines, times are UTC; with --metrics there is a table instead, a row for each series.`

// How often a folder is looked at, and a table is shown where it cannot be redrawn.
const (
	pollEvery  = 300 * time.Millisecond
	tableEvery = 10 * time.Second
	maxTold    = 20
)

// tailing is what the flags of `slipstream tail` say, and what it works with.
type tailing struct {
	metrics, json, once  bool
	lasting, since, bin  time.Duration
	name                 string
	listen, folders      []string
	stdout, stderr       io.Writer
	live, color          bool // stdout is a screen; with colours
	mu                   sync.Mutex
	out                  *bufio.Writer
	view                 tail.View
	table                *tail.Table // nil without --metrics
	warned, drawn, taken int         // drawn is how much had been taken when the table was appended
	redraws              bool        // the table is redrawn: what is to be told waits until the end
	told                 []string    // what waits, the first maxTold
	receivers            []*tail.Receiver
}

func runTail(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	t := &tailing{stdout: stdout, stderr: stderr, live: isTerminal(stdout), drawn: -1}
	if err := t.parse(args); err != nil {
		return err
	}
	if t.lasting > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.lasting)
		defer cancel()
	}
	since := time.Time{}
	if t.since > 0 {
		since = time.Now().Add(-t.since)
	}
	var folders []*tail.Folder
	for _, path := range t.folders {
		folder, err := tail.NewFolder(path, since)
		if err != nil {
			return err
		}
		folders = append(folders, folder)
	}
	for _, address := range t.listen {
		receiver, err := tail.Listen(address, t.export)
		if err != nil {
			return err
		}
		fmt.Fprintf(stderr, "listening: SLIPSTREAM_DESTINATIONS=otlp+http://%s, Ctrl-C ends\n", receiver.Address())
		t.receivers = append(t.receivers, receiver)
	}
	if err := t.follow(ctx, folders); err != nil {
		return err
	}
	if t.once && t.warned > 0 {
		return fmt.Errorf("not all could be read: %d faults, see above", t.warned)
	}
	return nil
}

func (t *tailing) parse(args []string) error {
	flags := flag.NewFlagSet("tail", flag.ContinueOnError)
	flags.BoolVar(&t.metrics, "metrics", false, "show a table of metrics: counters' rate and total,\n"+
		"distributions' mean and percentiles, gauges' last value, and their history")
	flags.BoolVar(&t.json, "json", false, "write JSON lines; with --metrics one for each series")
	flags.BoolVar(&t.once, "once", false, "show what is in the folders and end")
	flags.DurationVar(&t.lasting, "for", 0, "end after this `time`")
	flags.Var(list{&t.listen}, "listen", "take OTLP on `ADDRESS`, as in 127.0.0.1:4319 (repeatable)")
	flags.StringVar(&t.name, "name", "", "only metrics whose name matches `GLOB`, as in 'aws.lambda.*';\n"+
		"brings --metrics along")
	flags.DurationVar(&t.since, "since", 0, "begin with files that are not older than this `time`\n"+
		"(default 10m; all with --once)")
	flags.DurationVar(&t.bin, "bin", time.Minute, "how much `time` one bar of the history is")
	var sources []string
	for { // flags may stand behind sources
		if err := parse(flags, tailSynopsis, args, t.stdout); err != nil {
			return err
		}
		if args = flags.Args(); len(args) == 0 {
			break
		}
		sources, args = append(sources, args[0]), args[1:]
	}
	if err := t.complete(sources); err != nil {
		return usageError{err}
	}
	return nil
}

// complete sorts the sources and makes the view.
func (t *tailing) complete(sources []string) (err error) {
	for _, source := range sources {
		u, err := url.Parse(source)
		switch {
		case err != nil || u.Scheme == "" || !strings.Contains(source, "://"):
			t.folders = append(t.folders, source)
		case u.Scheme == "file" && u.Path != "":
			t.folders = append(t.folders, u.Path)
		case u.Scheme == "otlp+http" && u.Host != "":
			t.listen = append(t.listen, u.Host)
		default:
			return fmt.Errorf("%s: not a folder, file:///folder or otlp+http://host:port", source)
		}
	}
	t.metrics = t.metrics || t.name != ""
	switch {
	case len(t.folders)+len(t.listen) == 0:
		return errors.New("say what to show: a folder, or --listen 127.0.0.1:4319")
	case t.once && len(t.listen) > 0:
		return errors.New("--once is for folders; with an address say --for 1m")
	case t.bin < time.Second || t.lasting < 0 || t.since < 0:
		return errors.New("--bin takes 1s or more, --for and --since no negative times")
	case !t.once && t.since == 0:
		t.since = 10 * time.Minute
	}
	t.color = t.live && os.Getenv("NO_COLOR") == ""
	t.out = bufio.NewWriter(t.stdout)
	switch {
	case t.metrics:
		t.table, err = tail.NewTable(tail.TableConfig{Bin: t.bin, Name: t.name, Now: time.Now})
		t.view = t.table
		if err != nil {
			return fmt.Errorf("--name %s: %w (* and ? stand for others, [a-z] for one of them)", t.name, err)
		}
	case t.json:
		t.view = tail.NewJSON(t.out)
	default:
		t.view = tail.NewLines(t.out, t.color)
	}
	return nil
}

// follow shows what comes until ctx ends, or once.
func (t *tailing) follow(ctx context.Context, folders []*tail.Folder) error {
	t.redraws = t.table != nil && t.live && !t.json && !t.once
	if t.redraws {
		enterScreen(t.stdout)
	}
	err := t.poll(ctx, folders)
	for _, receiver := range t.receivers {
		t.close(receiver)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.redraws {
		t.redraws = false
		leaveScreen(t.stdout)
	}
	if t.table != nil && t.drawn != t.taken {
		err = errors.Join(err, t.append())
	}
	err = errors.Join(err, t.out.Flush())
	for _, told := range t.told {
		fmt.Fprintln(t.stderr, told)
	}
	return err
}

func (t *tailing) poll(ctx context.Context, folders []*tail.Folder) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	appended := time.Now()
	for {
		for _, folder := range folders {
			if err := folder.Poll(ctx, t.line, t.warn); err != nil {
				return err
			}
		}
		if t.once {
			return nil
		}
		t.mu.Lock()
		var err error
		if t.table != nil {
			t.table.Advance(time.Now())
		}
		switch due := time.Since(appended) >= tableEvery && t.taken != t.drawn; {
		case t.redraws:
			err = t.redraw()
		case t.table != nil && due:
			appended = time.Now()
			err = t.append()
		}
		err = errors.Join(err, t.out.Flush())
		t.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// line takes a line of a file.
func (t *tailing) line(line []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken++
	return tail.Line(t.view, line)
}

// export takes a request of an extension. What cannot be read is told, not asked for
// again.
func (t *tailing) export(x *telemetry.Export) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken++
	if err := t.view.Export(x); err != nil {
		t.tell(err)
	}
	if t.table == nil {
		_ = t.out.Flush() // an error stays and is told by poll
	}
	return nil
}

func (t *tailing) warn(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warned++
	_ = t.out.Flush()
	t.tell(err)
}

// tell writes to stderr, at the end where a table is on the screen.
func (t *tailing) tell(err error) {
	text := "slipstream tail: " + err.Error()
	switch {
	case !t.redraws:
		fmt.Fprintln(t.stderr, text)
	case len(t.told) < maxTold:
		t.told = append(t.told, text)
	}
}

// append writes the whole table below what is there.
func (t *tailing) append() error {
	t.drawn = t.taken
	if t.json {
		text, err := t.table.AppendJSON(nil)
		_, _ = t.out.Write(text)
		return err
	}
	columns, _ := screenSize(t.stdout)
	_, err := t.out.WriteString(strings.Join(t.table.Draw(tail.Size{Columns: columns}, t.color), "\n") + "\n")
	return err
}

// redraw writes the table over the one before, in one go: each line clears only what
// is behind it, so that nothing flickers.
func (t *tailing) redraw() error {
	columns, rows := screenSize(t.stdout)
	lines := t.table.Draw(tail.Size{Columns: columns, Rows: max(rows-1, 3)}, t.color)
	_, err := t.out.WriteString("\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\x1b[J")
	return err
}

// enterScreen goes to the terminal's other screen, without a cursor; leaveScreen
// comes back to what was there.
func enterScreen(w io.Writer) { fmt.Fprint(w, "\x1b[?1049h\x1b[?25l\x1b[2J") }
func leaveScreen(w io.Writer) { fmt.Fprint(w, "\x1b[?25h\x1b[?1049l") }

// close ends a receiver and tells what it could not take.
func (t *tailing) close(receiver *tail.Receiver) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	dropped, err := receiver.Close(ctx)
	if err != nil {
		t.warn(err)
	}
	for reason, n := range dropped {
		t.warn(fmt.Errorf("%d could not be taken: %s", n, reason))
	}
}
