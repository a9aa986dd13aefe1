// Package demo is the product's first minute: three functions that call one
// another under the emulator, load with errors and a slow bank, the real
// extension, and an exact count of what was delivered. Use Run.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"slipstream/demo/functions/shop"
	"slipstream/demo/objects"
	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/account"
	"slipstream/emulator/fault"
)

const (
	parallel     = 2 // orders at once: as many as the smallest machine has cores
	memoryMB     = 512
	timeout      = 10 * time.Second
	shutdownTime = 20 * time.Second
)

// ErrInexact says that a line was lost or is there twice.
var ErrInexact = errors.New("not every line was delivered exactly once")

// Config says how long the demo runs and where it shows itself.
type Config struct {
	// Orders is how many orders are placed; 0 goes on until the context ends.
	Orders int
	// Extension is the path of the binary, under the name it has in the layer.
	Extension string
	// Output is the folder for the file destination; it is kept. Empty takes one
	// that is removed at the end.
	Output string
	// Out gets progress and summary. Live redraws the progress in place, Color
	// paints the verdict.
	Out         io.Writer
	Live, Color bool
}

// Run plays the demo and prints the summary. The error is ErrInexact when the
// count is not exact, and also says what kept the demo from running.
func Run(ctx context.Context, c Config) error {
	scratch, err := os.MkdirTemp("", "slipstream-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	s := &stage{Config: c, scratch: scratch, book: account.New(), began: time.Now()}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.close()
	running, err := emulator.Start(ctx, s.emulator())
	if err != nil {
		return err
	}
	s.introduce(running.Notices())
	load := newLoad(running, c.Orders)
	load.run(ctx, func() { s.progress(load) })
	// Ctrl-C ends the load, not the delivery.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err = errors.Join(running.Wait(ending), running.Shutdown(ending))
	s.progressEnd(load)
	if err != nil {
		return err
	}
	tallies, err := s.count(ending)
	if err != nil {
		return err
	}
	return s.summarize(load, tallies)
}

// stage is one run of the demo.
type stage struct {
	Config
	scratch string
	ledger  string
	files   string
	bucket  *objects.Bucket // nil without an S3 server
	binary  map[string]string
	faults  []fault.Rule
	book    *account.Book
	began   time.Time
	ticks   int // of the progress
}

// functions are the shop's, in the order in which an order meets them.
var functions = []string{"checkout", "inventory", "payment"}

// logFormat shows both: JSON lines arrive as objects from a function with JSON,
// as text from the others.
var logFormat = map[string]string{"payment": "JSON"}

// platformFaults are what the platform does wrong on purpose: it loses an
// answer and posts the same records again, and it posts late.
var platformFaults = []string{"telemetry:duplicate,every=7", "telemetry:delay=80ms,every=5"}

func (s *stage) prepare(ctx context.Context) (err error) {
	s.ledger, s.files = filepath.Join(s.scratch, "ledger"), s.Output
	for _, text := range platformFaults {
		rule, err := fault.Parse(text)
		if err != nil {
			return err
		}
		s.faults = append(s.faults, rule)
	}
	if s.files == "" {
		s.files = filepath.Join(s.scratch, "files")
	} else if s.files, err = filepath.Abs(filepath.Join(s.files, s.began.UTC().Format("20060102T150405"))); err != nil {
		return err
	}
	for _, dir := range []string{s.ledger, s.files} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s.binary = map[string]string{}
	for _, name := range functions {
		if s.binary[name], err = layer.Program(ctx, "./demo/functions/"+name, runtime.GOARCH); err != nil {
			return fmt.Errorf("the demo builds its functions from source: %w", err)
		}
	}
	s.bucket, err = objects.FindBucket(ctx, s.scratch, "demo/"+s.began.UTC().Format("20060102T150405"))
	return err
}

func (s *stage) close() {
	if s.bucket != nil {
		s.bucket.Stop()
	}
}

// emulator gives the local Lambda with the shop's functions.
func (s *stage) emulator() emulator.Config {
	var urls []string
	for _, p := range s.places() {
		urls = append(urls, p.URL())
	}
	env := map[string]string{shop.EnvLedger: s.ledger, "SLIPSTREAM_DESTINATIONS": strings.Join(urls, " ")}
	if s.bucket != nil {
		maps.Copy(env, s.bucket.Variables())
	}
	c := emulator.Config{Freeze: true, Observe: s.book.Observe(), Binds: []string{s.ledger, s.files}, Faults: s.faults}
	for _, name := range functions {
		c.Functions = append(c.Functions, emulator.Function{
			Name: name, Command: []string{s.binary[name]}, Env: env, Extensions: []string{s.Extension},
			MemoryMB: memoryMB, Timeout: timeout, Concurrency: parallel, LogFormat: logFormat[name],
		})
	}
	return c
}

// place is a destination that can be read back.
type place interface {
	URL() string
	Each(context.Context, objects.Visit) error
}

func (s *stage) places() []place {
	places := []place{objects.Folder(s.files)}
	if s.bucket != nil {
		places = append(places, s.bucket)
	}
	return places
}

// count reads every destination and compares it with the ledger.
func (s *stage) count(ctx context.Context) ([]Tally, error) {
	written, err := readLedger(s.ledger)
	if err != nil {
		return nil, err
	}
	var tallies []Tally
	for _, p := range s.places() {
		arrived := newArrivals()
		var first Sample
		err := p.Each(ctx, func(name string, size int64, body []byte) error {
			arrived.object(size, body)
			if first.Name == "" {
				first = sample(name, size, body)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("count what was delivered: %w", err)
		}
		t := arrived.tally(written)
		t.Destination, t.Sample = publicName(p), first
		tallies = append(tallies, t)
	}
	return tallies, nil
}

// publicName is a destination without its options.
func publicName(p place) string {
	name, _, _ := strings.Cut(p.URL(), "?")
	return name
}
