package wavefront

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"slipstream/telemetry"
)

// metric reads `name value [time] [source=...] [key=value ...]`. A line whose
// second word has a = behind it is a span: accepted where nothing said what the
// lines are, since a local listener has one port for all.
func (p *parser) metric(spanToo bool) string {
	name, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	second, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	if spanToo && p.scan.peek() == equals {
		return p.spanFrom(name, second)
	}
	value, ok := number(second)
	if !ok {
		return reasonMalformed
	}
	at, err := p.scan.timestamp()
	if err != nil {
		return reasonMalformed
	}
	if reason := p.tags(); reason != "" {
		return reason
	}
	p.point = telemetry.Point{Kind: telemetry.Gauge, Name: name, Time: at, Value: value, Count: 1,
		Source: p.source, Tags: p.pointTags}
	if reason := p.checkPoint(reasonNameLong); reason != "" {
		return reason
	}
	if rest, delta := cutDelta(name); delta {
		if value <= 0 {
			return reasonDelta
		}
		p.point.Kind, p.point.Name = telemetry.Counter, rest
		if len(rest) == 0 {
			return reasonName
		}
	}
	if p.minute {
		p.point.Kind, p.point.Name, p.point.Bin = telemetry.Distribution, name, time.Minute
		p.point.Time = p.bin(at, time.Minute)
	}
	p.out.point(&p.point)
	return ""
}

// bin is the start of the interval that at, or now, is in.
func (p *parser) bin(at time.Time, width time.Duration) time.Time {
	if at.IsZero() {
		at = p.now
	}
	ms := at.UnixMilli()
	return time.UnixMilli(ms - ms%width.Milliseconds())
}

// histogram reads `!M [time] #count mean ... name [source=...] [key=value ...]`.
func (p *parser) histogram() string {
	kind, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	var width time.Duration
	switch string(kind) {
	case "!M":
		width = time.Minute
	case "!H":
		width = time.Hour
	case "!D":
		width = 24 * time.Hour
	default:
		return reasonMalformed
	}
	at, err := p.scan.timestamp()
	if err != nil || !p.readCentroids() {
		return reasonMalformed
	}
	name, ok := p.scan.word()
	if !ok {
		return reasonMalformed
	}
	if reason := p.tags(); reason != "" {
		return reason
	}
	p.point = telemetry.Point{Kind: telemetry.Distribution, Name: name, Time: p.bin(at, width), Bin: width,
		Source: p.source, Tags: p.pointTags}
	if reason := p.checkPoint(reasonHistoLong); reason != "" {
		return reason
	}
	p.compact()
	if len(p.centroids) == 0 {
		return reasonEmptyHisto
	}
	p.point.Centroids = p.centroids
	p.out.point(&p.point)
	return ""
}

// readCentroids takes the pairs `#count mean`: at least one. A count below 1 is
// left out, as the proxy does.
func (p *parser) readCentroids() bool {
	p.centroids = p.centroids[:0]
	pairs := 0
	for p.scan.peek() == weight {
		p.scan.next()
		text, ok := p.scan.word()
		if !ok {
			return false
		}
		count, err := strconv.ParseInt(asString(text), 10, 32)
		if err != nil {
			return false
		}
		text, _ = p.scan.word()
		mean, ok := number(text)
		if !ok {
			return false
		}
		pairs++
		if count > 0 {
			p.centroids = append(p.centroids, telemetry.Centroid{Value: mean, Count: float64(count)})
		}
	}
	return pairs > 0
}

// compact puts the centroids in rising order and makes one of equal ones.
func (p *parser) compact() {
	rising := func(a, b telemetry.Centroid) int { return cmp.Compare(a.Value, b.Value) }
	if !slices.IsSortedFunc(p.centroids, rising) {
		slices.SortFunc(p.centroids, rising)
	}
	to := 0
	for i, c := range p.centroids {
		if i > 0 && p.centroids[to-1].Value == c.Value {
			p.centroids[to-1].Count += c.Count
			continue
		}
		p.centroids[to] = c
		to++
	}
	p.centroids = p.centroids[:to]
}

// tags takes the pairs `key=value` up to the end of the line. source, else
// host, is the source; where both are, host becomes _host and, as in the proxy,
// a key "tag" becomes _tag.
func (p *parser) tags() string {
	p.pointTags, p.source = p.pointTags[:0], nil
	var host []byte
	hasSource, hasHost := false, false
	for p.scan.peek() != end {
		key, value, ok := p.pair()
		if !ok {
			return reasonMalformed
		}
		switch string(key) {
		case "source":
			p.source, hasSource = value, true
		case "host":
			host, hasHost = value, true
		case "tag":
			p.pointTags = append(p.pointTags, telemetry.Tag{Key: keyTag, Value: value})
		default:
			p.pointTags = append(p.pointTags, telemetry.Tag{Key: key, Value: value})
		}
	}
	switch {
	case p.scan.broken:
		return reasonMalformed
	case hasHost && hasSource:
		p.pointTags = append(p.pointTags, telemetry.Tag{Key: keyHost, Value: host})
	case hasHost:
		p.source = host
	}
	if (hasHost || hasSource) && blank(p.source) {
		return reasonNoSource
	}
	return ""
}

var keyTag, keyHost = []byte("_tag"), []byte("_host")

// pair takes `key=value`.
func (p *parser) pair() (key, value []byte, ok bool) {
	if key, ok = p.scan.word(); !ok {
		return nil, nil, false
	}
	value, ok = p.value()
	return key, value, ok
}

// value takes `=value`.
func (p *parser) value() ([]byte, bool) {
	if p.scan.peek() != equals {
		return nil, false
	}
	p.scan.next()
	return p.scan.word()
}

// checkPoint gives the reason for which the point is refused, in the order of
// java-lib's Validation.
func (p *parser) checkPoint(nameTooLong string) string {
	switch {
	case longer(p.source, maxName):
		return reasonSourceLong
	case longer(p.point.Name, maxName):
		return nameTooLong
	case !legalName(p.point.Name):
		return reasonName
	case len(p.pointTags) > maxTags:
		return reasonTags
	}
	for _, tag := range p.pointTags {
		if reason := checkTag(tag.Key, tag.Value); reason != "" {
			return reason
		}
	}
	return ""
}
