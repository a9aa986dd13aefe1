package demo

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// plainEvery is how often the progress is a new line where it cannot be redrawn.
const plainEvery = 20 // times progressEvery: 5 s

// sampleBytes is how much is shown of a delivered line.
const sampleBytes = 320

const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	reset = "\x1b[0m"
	erase = "\r\x1b[K"
)

// print writes to the user; a terminal that is gone is no reason to stop.
func (s *stage) print(format string, args ...any) { _, _ = fmt.Fprintf(s.Out, format, args...) }

// introduce says what is about to happen.
func (s *stage) introduce(notices []string) {
	s.print("Slipstream demo: checkout calls inventory and payment; the bank behind payment is slow " +
		"for every 5th order\n" +
		"and declines every 17th. Each function has the extension beside it, as in a Lambda layer.\n\n")
	s.print("  extension  %s\n", describe(s.Extension))
	for _, p := range s.places() {
		s.print("  delivers   %s\n", publicName(p))
	}
	if s.bucket != nil {
		s.print("  S3 server  %s\n", s.bucket.Server())
	} else {
		s.print("  S3 server  none at hand: set AWS_ENDPOINT_URL_S3, or let `make tools` build one\n")
	}
	s.print("  faults     %s, on purpose\n", strings.Join(platformFaults, " and "))
	for _, n := range notices {
		s.print("  notice     %s\n", n)
	}
	s.print("\n")
}

// describe names a program and its size.
func describe(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return path
	}
	return fmt.Sprintf("%s, %.1f MB", info.Name(), float64(info.Size())/1e6)
}

// progress shows how far the load is: redrawn on a terminal, else now and then.
func (s *stage) progress(l *load) {
	line := s.progressLine(l)
	if s.Live {
		s.print("%s%s", erase, line)
		return
	}
	if s.ticks++; s.ticks%plainEvery == 0 {
		s.print("%s\n", line)
	}
}

func (s *stage) progressEnd(l *load) {
	if s.Live {
		s.print("%s", erase)
	}
	s.print("%s\n\n", s.progressLine(l))
}

func (s *stage) progressLine(l *load) string {
	of := ""
	if l.orders > 0 {
		of = fmt.Sprintf(" of %d", l.orders)
	}
	return fmt.Sprintf("  %5.1f s  %d%s orders, %d with an error, %d invocations",
		time.Since(s.began).Seconds(), l.placed.Load(), of, l.declined.Load(), s.book.Invocations())
}

// summarize prints what was delivered and what it cost, and judges.
func (s *stage) summarize(l *load, tallies []Tally) error {
	cost := s.book.Summary()
	exact := l.broken.Load() == 0
	s.print("Delivered\n")
	for _, t := range tallies {
		exact = exact && t.exact(cost.Invocations)
		s.print("  %s\n", t.Destination)
		s.print("    lines     %d produced, %d delivered, %d lost, %d duplicated\n",
			t.Produced, t.Delivered, t.Lost, t.Duplicated)
		s.print("    platform  start %d, runtimeDone %d, report %d of %d invocations, %d duplicated\n",
			t.Platform["platform.start"], t.Platform["platform.runtimeDone"], t.Platform["platform.report"],
			cost.Invocations, t.PlatformDuplicated)
		s.print("    objects   %d, %.1f kB\n", t.Objects, float64(t.Bytes)/1000)
		if t.Unreadable > 0 {
			s.print("    unreadable lines  %d\n", t.Unreadable)
		}
	}
	s.print("\nWhat it cost\n")
	_ = cost.Print(s.Out) // as s.print
	s.print("\nWhat an object looks like\n")
	o := tallies[len(tallies)-1].Sample // all places have the same lines
	s.print("  %s (%.1f kB)\n", o.Name, float64(o.Bytes)/1000)
	for _, line := range o.Lines {
		s.print("    %s\n", shorten(line))
	}
	s.print("\n")
	if n := l.broken.Load(); n > 0 {
		s.print("%d orders were not answered by the function\n", n)
	}
	if !exact {
		s.print("%s\n", s.paint(red, "NOT EXACT: "+ErrInexact.Error()))
		return ErrInexact
	}
	s.print("%s\n", s.paint(green,
		fmt.Sprintf("Every line of %d invocations was delivered exactly once.", cost.Invocations)))
	return nil
}

// shorten keeps a line on a screen or two.
func shorten(line string) string {
	if len(line) <= sampleBytes {
		return line
	}
	return strings.ToValidUTF8(line[:sampleBytes], "") + "…"
}

func (s *stage) paint(color, text string) string {
	if !s.Color {
		return text
	}
	return color + text + reset
}
