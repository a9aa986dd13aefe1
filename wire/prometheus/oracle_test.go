package prometheus

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// checkRequest reads a request by the protocol's own rules: references within
// the symbols, an even number of them, names in order, counts as spans say.
func checkRequest(body []byte) error {
	var symbols []string
	var series [][]byte
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 || kind != protowire.BytesType {
			return errors.New("no field of bytes")
		}
		data, m := protowire.ConsumeBytes(body[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		body = body[n+m:]
		switch field {
		case 4:
			symbols = append(symbols, string(data))
		case 5:
			series = append(series, data)
		default:
			return fmt.Errorf("field %d", field)
		}
	}
	if len(symbols) == 0 || symbols[0] != "" {
		return errors.New("the first symbol is not empty")
	}
	for _, s := range series {
		if err := checkSeries(s, symbols); err != nil {
			return err
		}
	}
	return nil
}

func checkSeries(s []byte, symbols []string) error {
	field, _, n := protowire.ConsumeTag(s)
	packed, m := protowire.ConsumeBytes(s[max(n, 0):])
	if field != 1 || m < 0 {
		return errors.New("no labels")
	}
	last, refs := "", 0
	for ; len(packed) > 0; refs++ {
		ref, n := protowire.ConsumeVarint(packed)
		if n < 0 || ref >= uint64(len(symbols)) {
			return fmt.Errorf("reference %d of %d", ref, len(symbols))
		}
		packed = packed[n:]
		if refs%2 == 0 {
			if symbols[ref] <= last {
				return fmt.Errorf("label %q after %q", symbols[ref], last)
			}
			last = symbols[ref]
		}
	}
	if refs%2 != 0 || len(s) == n+m {
		return fmt.Errorf("%d references, %d bytes of samples", refs, len(s)-n-m)
	}
	return checkTimes(s[n+m:])
}

// checkTimes wants the samples of a series, and its histograms, one after the other.
func checkTimes(s []byte) error {
	last := int64(-1 << 62)
	for len(s) > 0 {
		field, _, n := protowire.ConsumeTag(s)
		data, m := protowire.ConsumeBytes(s[max(n, 0):])
		if m < 0 {
			return protowire.ParseError(m)
		}
		s = s[n+m:]
		if field != 2 && field != 3 {
			continue
		}
		at, where := int64(0), map[protowire.Number]protowire.Number{2: 2, 3: 15}[field]
		for len(data) > 0 {
			number, kind, n := protowire.ConsumeTag(data)
			if number == where {
				v, _ := protowire.ConsumeVarint(data[n:])
				at = int64(v)
			}
			m := protowire.ConsumeFieldValue(number, kind, data[max(n, 0):])
			if m < 0 {
				return protowire.ParseError(m)
			}
			data = data[n+m:]
		}
		if at <= last {
			return fmt.Errorf("time %d after %d", at, last)
		}
		last = at
	}
	return nil
}
