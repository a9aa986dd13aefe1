package tail

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Size is how much room a table has, in columns and lines; no Rows is no end.
type Size struct{ Columns, Rows int }

// wide is from where on kind and tags are columns; else tags have lines of their own.
const wide = 110

// Bounds of what a row takes.
const (
	fewestColumns = 60
	mostName      = 48
	leastHistory  = 8
	jsonHistory   = 20
)

// sorted gives the rows as they are shown.
func (t *Table) sorted() []*series {
	var list []*series
	for _, s := range t.series {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *series) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.function, b.function), cmp.Compare(a.tags, b.tags),
			cmp.Compare(a.kind, b.kind))
	})
	return list
}

// value is a gauge's last value, a counter's rate, a distribution's mean.
func (t *Table) value(s *series) string {
	switch s.kind {
	case gauge:
		return quantity(s.last, s.unit)
	case counter:
		return rate(t.rate(s), s.unit)
	}
	return quantity(s.total/s.count, s.unit)
}

// rate is a counter's, a second, in its newest bin; in the one before while time goes
// on in the newest.
func (t *Table) rate(s *series) float64 {
	last := len(s.bins) - 1
	if last > 0 && s.bins[last].number == t.open && s.bins[last-1].number == t.open-1 {
		last--
	}
	return s.bins[last].sum / t.config.Bin.Seconds()
}

// Draw gives the lines of the table, none wider than size allows.
func (t *Table) Draw(size Size, color bool) []string {
	list := t.sorted()
	d := drawing{columns: max(size.Columns, fewestColumns), color: color}
	d.plan(list)
	head := fmt.Sprintf("%d series, %d points", len(list), t.points)
	if len(list) == 0 {
		head = "no metrics yet"
	}
	if d.same != "" {
		head = d.same + ": " + head
	}
	if t.left > 0 {
		head += fmt.Sprintf(", %d points of more than %d series left out", t.left, maxSeries)
	}
	if t.unknown > 0 {
		head += fmt.Sprintf(", %d unknown lines", t.unknown)
	}
	if t.newest > math.MinInt64 && len(list) > 0 {
		end := time.Unix(0, (t.newest+1)*int64(t.config.Bin)).UTC()
		head += ", up to " + end.Format("15:04:05") + " UTC"
	}
	d.line(faint, clean(head, ""))
	if len(list) == 0 {
		return d.lines
	}
	d.line("1", d.head(t.config.Bin))
	for i, s := range list {
		need := 1
		if d.below && d.tagsOf(s) != "" {
			need = 2
		}
		room := size.Rows - len(d.lines)
		if size.Rows > 0 && (room < need || room == need && i < len(list)-1) {
			d.line(faint, fmt.Sprintf("… and %d more: --name shows fewer", len(list)-i))
			break
		}
		d.row(t, s)
	}
	return d.lines
}

// drawing is the columns of one table.
type drawing struct {
	columns, name, tags, history int
	below                        bool   // tags have lines of their own
	same                         string // the function of all rows, if it is the same
	color                        bool
	lines                        []string
}

// fixed are the columns of numbers: value, count, three percentiles, each with the
// space before.
const fixed = 10 + 8 + 3*7

// plan gives each column its width.
func (d *drawing) plan(list []*series) {
	longest, tags := len("METRIC"), 0
	for i, s := range list {
		if i == 0 {
			d.same = s.function
		} else if d.same != s.function {
			d.same = ""
		}
	}
	for _, s := range list {
		longest = max(longest, utf8.RuneCountInString(s.name))
		tags = max(tags, utf8.RuneCountInString(d.tagsOf(s)))
	}
	d.history = leastHistory
	if d.columns < wide {
		d.below = tags > 0
		d.name = min(longest, d.columns-fixed-1-d.history)
	} else {
		d.name = min(longest, mostName)
		room := d.columns - fixed - 6 - d.name - 1 - leastHistory
		d.tags = min(tags, max(room-1, 0))
	}
	used := d.name + fixed + 1
	if d.columns >= wide {
		used += 6
		if d.tags > 0 {
			used += d.tags + 1
		}
	}
	d.history = min(max(d.history, d.columns-used), maxHistory)
}

// tagsOf is what a row's tags are shown as: with its function, unless all have that.
func (d *drawing) tagsOf(s *series) string {
	if d.same != "" || s.function == "" {
		return s.tags
	}
	return strings.TrimSuffix(s.function+" "+s.tags, " ")
}

func (d *drawing) head(bin time.Duration) string {
	history := "BINS OF " + strings.TrimSuffix(strings.TrimSuffix(bin.String(), "0s"), "0m")
	if d.history < len(history) {
		history = "HISTORY"
	}
	return d.cells("METRIC", "TAGS", "KIND", "VALUE", "COUNT", [3]string{"P50", "P90", "P99"}, history)
}

func (d *drawing) cells(name, tags, kind, value, count string, percentiles [3]string, history string) string {
	text := fit(name, d.name)
	if d.tags > 0 {
		text += " " + fit(tags, d.tags)
	}
	if d.columns >= wide {
		text += " " + fit(kind, 5)
	}
	text += fmt.Sprintf(" %9s %7s %6s %6s %6s ", value, count, percentiles[0], percentiles[1], percentiles[2])
	return strings.TrimRight(text+fit(history, d.history), " ")
}

func (d *drawing) row(t *Table, s *series) {
	count := quantity(s.count, "")
	if s.kind == counter {
		count = quantity(s.total, s.unit)
	}
	var percentiles [3]string
	if s.kind == distribution {
		for i, v := range s.percentiles() {
			percentiles[i] = quantity(v, s.unit)
		}
	}
	d.line("", d.cells(clean(s.name, ""), clean(d.tagsOf(s), ""), string(s.kind), t.value(s), count, percentiles,
		sparkline(t.history(s, d.history), s.kind != gauge)))
	if tags := d.tagsOf(s); d.below && tags != "" {
		d.line(faint, "  "+clean(tags, ""))
	}
}

// line adds a line, cut to the width.
func (d *drawing) line(paint, text string) {
	text = strings.TrimRight(fit(text, d.columns), " ")
	if d.color && paint != "" {
		text = "\x1b[" + paint + "m" + text + "\x1b[0m"
	}
	d.lines = append(d.lines, text)
}

// fit makes text so many columns wide: what is too long loses its middle.
func fit(text string, columns int) string {
	runes := []rune(text)
	if missing := columns - len(runes); missing >= 0 {
		return text + strings.Repeat(" ", missing)
	}
	tail := (columns - 1) / 2
	return string(runes[:columns-1-tail]) + "…" + string(runes[len(runes)-tail:])
}

// AppendJSON appends a row of the table as a JSON object on a line, for each.
func (t *Table) AppendJSON(dst []byte) ([]byte, error) {
	for _, s := range t.sorted() {
		row := map[string]any{"name": s.name, "kind": s.kind}
		if s.function != "" {
			row["function"] = s.function
		}
		if s.unit != "" {
			row["unit"] = s.unit
		}
		if s.tags != "" {
			row["tags"] = s.tags
		}
		switch s.kind {
		case gauge:
			row["last"] = finite(s.last)
		case counter:
			row["total"] = finite(s.total)
			row["rate"] = finite(t.rate(s))
		case distribution:
			row["count"], row["sum"] = s.count, finite(s.total)
			p := s.percentiles()
			row["p50"], row["p90"], row["p99"] = finite(p[0]), finite(p[1]), finite(p[2])
		}
		var history []any
		for _, v := range t.history(s, jsonHistory) {
			history = append(history, finite(v))
		}
		row["history"] = history
		line, err := json.Marshal(row)
		if err != nil {
			return dst, fmt.Errorf("write %s as JSON: %w", s.name, err)
		}
		dst = append(append(dst, line...), '\n')
	}
	return dst, nil
}

// finite is v, or nil for what JSON has no number for.
func finite(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return v
}
