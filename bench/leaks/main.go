// Command leaks prints how many of planted secrets are still there after
// redaction, of every kind at every place, and with --logs how many lines of real
// logs redaction changes: a folder of *_structured.csv files, as the collection
// Loghub has them. With --show it prints each changed line, to be judged by eye.
package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"slipstream/bench/figure"
	"slipstream/process/redact"
	"slipstream/test/secrets"
)

var (
	seed = flag.Uint64("seed", 1, "of the planted secrets")
	logs = flag.String("logs", "", "count what is changed in the logs below this `FOLDER`")
	show = flag.Bool("show", false, "print each line of --logs that is changed")
)

const planted = 26_000

func main() { figure.Main("leaks", measure) }

func measure(context.Context) ([]figure.Figure, error) {
	p, errs := redact.New(redact.Config{})
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	figures := leaks(p)
	if *logs == "" {
		return figures, nil
	}
	changed, err := falseFinds(*logs)
	return append(figures, changed...), err
}

// leaks counts the planted secrets of which a piece is left.
func leaks(p *redact.Policy) []figure.Figure {
	left := map[string]float64{}
	for _, c := range secrets.Cases(*seed, planted) {
		if piece := c.Leaked(result(p, c)); piece != "" {
			left[c.Kind]++
			fmt.Fprintf(os.Stderr, "leak: %s, %s: %q of %s\n", c.Kind, c.Place, piece, c.Body)
		}
	}
	all := 0.0
	var figures []figure.Figure
	for _, kind := range secrets.Kinds() {
		all += left[kind]
		figures = append(figures, figure.Of("leaks/"+kind, "secrets", []float64{left[kind]}))
	}
	return append(figures, figure.Of("leaks", "secrets", []float64{all}),
		figure.Of("planted", "secrets", []float64{planted}))
}

func result(p *redact.Policy, c secrets.Case) []byte {
	out, changed := c.Body, false
	switch c.Form {
	case secrets.JSON:
		out, changed = p.JSON(nil, c.Body)
	case secrets.Value:
		out, changed = p.Value(nil, []byte(c.Key), c.Body)
	case secrets.Text:
		out, changed = p.Text(nil, c.Body)
	}
	if !changed {
		return c.Body
	}
	return out
}

// falseFinds counts the lines that the default policy changes, in all and by
// detector.
func falseFinds(folder string) ([]figure.Figure, error) {
	p, errs := redact.New(redact.Config{})
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "*_structured.csv"))
	if err != nil || files == nil {
		return nil, fmt.Errorf("find logs: no */*_structured.csv in %s: %w", folder, err)
	}
	lines, changed := 0, 0
	by := map[string]float64{}
	for _, file := range files {
		err := contents(file, func(line []byte) {
			lines++
			before := p.Counts()
			out, different := p.Text(nil, line)
			if !different {
				return
			}
			changed++
			for i, count := range p.Counts() {
				if count.Hits > before[i].Hits {
					by[count.Name]++
					if *show {
						fmt.Fprintf(os.Stderr, "%s: %s\n  -> %s\n", count.Name, line, out)
					}
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	var figures []figure.Figure
	for _, count := range p.Counts() {
		figures = append(figures, figure.Of("changed/"+count.Name, "lines", []float64{by[count.Name]}))
	}
	return append(figures, figure.Of("changed", "lines", []float64{float64(changed)}),
		figure.Of("lines", "lines", []float64{float64(lines)}),
		figure.Of("changed_share", "%", []float64{100 * float64(changed) / float64(lines)})), nil
}

// contents calls take with each value of the column Content.
func contents(file string, take func([]byte)) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	rows := csv.NewReader(bytes.NewReader(text))
	header, err := rows.Read()
	if err != nil {
		return fmt.Errorf("read logs %s: %w", file, err)
	}
	column := slices.Index(header, "Content")
	if column < 0 {
		return fmt.Errorf("read logs %s: there is no column Content", file)
	}
	for {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read logs %s: %w", file, err)
		}
		take([]byte(row[column]))
	}
}
