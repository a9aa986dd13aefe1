package logmetric

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"slipstream/process/jsonview"
	"slipstream/process/pattern"
	"slipstream/telemetry"
)

// Limits of the settings: CloudWatch's for a log group, and ours for a filter.
const (
	maxFilters    = 100
	maxDimensions = 30
	maxRegexp     = 4096 // bytes
)

// settings is one filter as it is written.
type settings struct {
	pattern, regexp, name, namespace, value, unit, kind string
	hasPattern, hasDefault, consume                     bool
	standIn                                             float64
	dimensions                                          [][2]string
}

// ParseFilters reads a JSON list of filters. A filter is an object of
//
//   - pattern (or filterPattern): of CloudWatch Logs, or regex, a regular expression
//     of RE2 with groups;
//   - name (metricName): a text, or $field, $.json.path, $group, $1. A regex takes
//     its group metric_name unless it says otherwise;
//   - value (metricValue): likewise, a number; 1 unless it is given or a regex has
//     the group metric_value;
//   - namespace (metricNamespace): stands before the name, with a point between;
//   - unit: one of CloudWatch's; kind: distribution, counter or gauge. A value that is
//     the same for each line is a counter unless it is said, others a distribution;
//   - dimensions: an object of names and, as for name, where their values come from. A
//     dimension that a line does not have is left out;
//   - default (defaultValue): the value of a period without a match, only for a
//     fixed name without dimensions, as in CloudWatch;
//   - consume: true makes points instead of records.
//
// An error says which filter it is about.
func ParseFilters(text string) ([]Filter, error) {
	list := []byte(strings.TrimSpace(text))
	if len(list) == 0 {
		return nil, nil
	}
	if list[0] != '[' || !jsonview.Valid(list) {
		return nil, errors.New("metric filters are a JSON list of objects, as [{\"pattern\":\"ERROR\",\"name\":\"errors\"}]")
	}
	var filters []Filter
	for it := jsonview.Each(list); it.Next(); {
		if len(filters) == maxFilters {
			return nil, fmt.Errorf("there are more than %d metric filters", maxFilters)
		}
		f, err := parseFilter(it.Value)
		if err != nil {
			return nil, fmt.Errorf("metric filter %d: %w", len(filters)+1, err)
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func parseFilter(object []byte) (Filter, error) {
	if object[0] != '{' {
		return Filter{}, errors.New("a filter is an object")
	}
	s := settings{}
	for it := jsonview.Each(object); it.Next(); {
		if err := s.set(string(it.Key), it.Value); err != nil {
			return Filter{}, err
		}
	}
	f := Filter{consume: s.consume}
	var err error
	switch {
	case s.hasPattern == (s.regexp != ""):
		return f, errors.New("a filter has either a pattern or a regex")
	case s.hasPattern:
		if f.pattern, err = pattern.Compile(s.pattern); err != nil {
			return f, err
		}
		f.literal = plainPart(f.pattern.Literal())
	case len(s.regexp) > maxRegexp:
		return f, fmt.Errorf("regex has at most %d bytes", maxRegexp)
	default:
		if f.regexp, err = regexp.Compile(s.regexp); err != nil {
			return f, fmt.Errorf("regex: %w", err)
		}
		literal, _ := f.regexp.LiteralPrefix()
		f.literal = plainPart(literal)
	}
	return f, f.complete(&s)
}

// set takes one member of a filter.
func (s *settings) set(key string, value []byte) (err error) {
	switch key {
	case "pattern", "filterPattern":
		s.hasPattern = true
		s.pattern, err = text(value)
	case "regex":
		s.regexp, err = text(value)
	case "name", "metricName":
		s.name, err = text(value)
	case "namespace", "metricNamespace":
		s.namespace, err = text(value)
	case "value", "metricValue":
		if s.value, err = text(value); err != nil {
			s.value, err = string(value), nil // a number
		}
	case "unit":
		s.unit, err = text(value)
	case "kind":
		s.kind, err = text(value)
	case "default", "defaultValue":
		if string(value) != "null" {
			if s.standIn, s.hasDefault = jsonview.Number(value); !s.hasDefault {
				err = errors.New("a number is expected")
			}
		}
	case "consume":
		if s.consume = string(value) == "true"; !s.consume && string(value) != "false" {
			err = errors.New("true or false is expected")
		}
	case "dimensions":
		err = s.setDimensions(value)
	default:
		err = errors.New("unknown: there are pattern, regex, name, namespace, value, unit, kind, dimensions, default and " +
			"consume")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (s *settings) setDimensions(object []byte) error {
	if object[0] != '{' {
		return errors.New(`an object is expected, as {"Service":"$service"}`)
	}
	for it := jsonview.Each(object); it.Next(); {
		value, err := text(it.Value)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", it.Key, err)
		case len(it.Key) == 0 || len(it.Key) > maxDimensionKey || len(value) > maxDimensionValue || value == "":
			return fmt.Errorf("%q: a name has 1 to %d bytes, a value 1 to %d", it.Key, maxDimensionKey, maxDimensionValue)
		case len(s.dimensions) == maxDimensions:
			return fmt.Errorf("there are more than %d", maxDimensions)
		}
		s.dimensions = append(s.dimensions, [2]string{string(jsonview.AppendText(nil, it.Key)), value})
	}
	return nil
}

// complete makes the filter of its settings, beside the pattern.
func (f *Filter) complete(s *settings) (err error) {
	if s.name == "" && f.hasGroup("metric_name") {
		s.name = "$metric_name"
	}
	if s.value == "" {
		s.value = "1"
		if f.hasGroup("metric_value") {
			s.value = "$metric_value"
		}
	}
	if f.name, err = f.source(s.name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	fixed := f.name.text != nil
	if s.name == "" || len(s.name)+len(s.namespace) > maxName {
		return fmt.Errorf("name: 1 to %d bytes are expected", maxName)
	}
	if s.namespace != "" {
		f.namespace = s.namespace + "."
	}
	f.kind = telemetry.Distribution
	if v, ok := jsonview.Number([]byte(s.value)); ok {
		f.constant, f.kind = v, telemetry.Counter
	} else if f.value, err = f.source(s.value); err != nil || f.value.text != nil {
		return errors.Join(fmt.Errorf("value: %q is neither a number nor where to find one, as $field", s.value), err)
	}
	if err := f.setKind(s); err != nil {
		return err
	}
	for _, d := range s.dimensions {
		value, err := f.source(d[1])
		if err != nil {
			return fmt.Errorf("dimensions: %s: %w", d[0], err)
		}
		f.dimensions = append(f.dimensions, dimension{key: []byte(d[0]), value: value})
	}
	if s.hasDefault && (!fixed || len(f.dimensions) > 0) {
		return errors.New("default: it goes with a fixed name and without dimensions, as in CloudWatch: " +
			"of which series would it be?")
	}
	f.standIn, f.hasStandIn = s.standIn, s.hasDefault
	return nil
}

func (f *Filter) setKind(s *settings) error {
	switch s.kind {
	case "": // as the value says
	case "counter":
		f.kind = telemetry.Counter
	case "gauge":
		f.kind = telemetry.Gauge
	case "distribution":
		f.kind = telemetry.Distribution
	default:
		return fmt.Errorf("kind: %q is none of distribution, counter and gauge", s.kind)
	}
	unit, ok := unitOf(s.unit)
	if !ok {
		return fmt.Errorf("unit: %q is none of CloudWatch's, as Milliseconds, Bytes, Count, Percent", s.unit)
	}
	f.unit = unit
	return nil
}

// hasGroup tells whether the filter is a regular expression with a group of that name.
func (f *Filter) hasGroup(name string) bool { return f.regexp != nil && f.regexp.SubexpIndex(name) > 0 }

// source reads a text of the settings: what begins with $ is taken from the line.
func (f *Filter) source(value string) (s source, err error) {
	switch {
	case !strings.HasPrefix(value, "$"):
		return source{text: []byte(value)}, nil
	case f.pattern != nil:
		s.selector, err = f.pattern.Selector(value)
		return s, err
	}
	if s.group = f.regexp.SubexpIndex(value[1:]); s.group > 0 {
		return s, nil
	}
	if n, err := strconv.Atoi(value[1:]); err == nil && n > 0 && n <= f.regexp.NumSubexp() {
		return source{group: n}, nil
	}
	return s, fmt.Errorf("the regex has no group %s: write it (?P<%s>…)", value, value[1:])
}

// text reads a JSON string.
func text(value []byte) (string, error) {
	t, _, ok := jsonview.Text(value, nil)
	if !ok {
		return "", errors.New("a text is expected")
	}
	return string(t), nil
}
