package rollup

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSetMergeIsExact(t *testing.T) {
	random := newRandom(t)
	for range 100 {
		n := random.IntN(3000)
		var whole set
		parts := make([]set, random.IntN(5)+1)
		for range n {
			place := placeOf(strconv.AppendInt(nil, random.Int64N(2000), 10))
			whole.insert(place)
			parts[random.IntN(len(parts))].insert(place)
		}
		var merged set
		for i := range parts {
			merged.merge(&parts[i])
		}
		if a, b := whole.appendSketch(nil), merged.appendSketch(nil); !slices.Equal(a, b) {
			t.Fatalf("%d members: the merged sketch is another one", n)
		}
	}
}

// What a set is depends on its members only: not on their order, how often they
// come, or how often it was read meanwhile.
func TestSetIsItsMembers(t *testing.T) {
	random := newRandom(t)
	for range 100 {
		var s set
		want := map[uint32]uint32{}
		for range random.IntN(2000) {
			place := placeOf(strconv.AppendInt(nil, random.Int64N(1500), 10))
			before := s.bytes()
			if grew := s.insert(place); grew != s.bytes()-before {
				t.Fatalf("it grew by %d bytes, but says %d", s.bytes()-before, grew)
			}
			want[place>>8] = max(want[place>>8], place)
			if random.IntN(50) == 0 {
				s.estimate()
			}
		}
		var sketch []byte
		for _, place := range slices.Sorted(maps.Values(want)) {
			sketch = append(sketch, byte(place>>16), byte(place>>8), byte(place))
		}
		if got := s.appendSketch(nil); !slices.Equal(got, sketch) {
			t.Fatalf("%d registers: %x, want %x", len(want), got, sketch)
		}
	}
}

// populations are members as they come, and such as a poor hash puts together.
// Each draws the nth of its members.
var populations = map[string]func(n uint64) []byte{
	"numbers":     func(n uint64) []byte { return strconv.AppendUint(nil, n, 10) },
	"padded":      func(n uint64) []byte { return fmt.Appendf(nil, "%012d", n) },
	"users":       func(n uint64) []byte { return fmt.Appendf(nil, "user-%d", n) },
	"e-mail":      func(n uint64) []byte { return fmt.Appendf(nil, "first.last+%d@example.com", n) },
	"IPv4":        func(n uint64) []byte { return fmt.Appendf(nil, "10.%d.%d.%d", n>>16, n>>8&255, n&255) },
	"IPv6":        func(n uint64) []byte { return fmt.Appendf(nil, "2001:db8::%x:%x", n>>16, n&0xffff) },
	"UUIDv4":      func(n uint64) []byte { return uuid(rand.NewPCG(n, 0).Uint64(), rand.NewPCG(n, 1).Uint64()) },
	"UUIDv7":      func(n uint64) []byte { return uuid(0x1999_0000_0000_7000+n<<16, rand.NewPCG(n, 0).Uint64()) },
	"big endian":  func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) },
	"high bits":   func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n<<44) },
	"both words":  func(n uint64) []byte { return bytesOf(n, n) },
	"3 bytes":     func(n uint64) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} },
	"long, front": func(n uint64) []byte { return fmt.Appendf(nil, "%d%s", n, strings.Repeat("/orders", 40)) },
	"long, end":   func(n uint64) []byte { return fmt.Appendf(nil, "%s%d", strings.Repeat("/orders", 40), n) },
	"two bits":    twoBits,
}

func uuid(a, b uint64) []byte {
	return fmt.Appendf(nil, "%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&(1<<48-1))
}

func bytesOf(words ...uint64) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// twoBits are two in different halves of 256 bytes.
func twoBits(n uint64) []byte {
	b := make([]byte, 256)
	b[n%1024/8] |= 1 << (n % 8)
	b[128+n/1024%1024/8] |= 1 << (n / 1024 % 8)
	return b
}

// Of a million members no two have one hash of 64 bits, if it is good.
func TestHashesDiffer(t *testing.T) {
	seen := map[uint64]string{}
	check := func(m []byte) {
		h := hash(m)
		if other, ok := seen[h]; ok && other != string(m) {
			t.Fatalf("%q and %q: both %#x", m, other, h)
		}
		seen[h] = string(m)
	}
	for _, member := range populations {
		for n := range uint64(30_000) {
			check(member(n))
		}
	}
	for n := range 2048 {
		check(make([]byte, n))
	}
	// All texts of 0 and 1 that have up to 17: lengths and overlaps.
	for length := range 18 {
		for n := range 1 << length {
			text := make([]byte, length)
			for i := range text {
				text[i] = '0' + byte(n>>i&1)
			}
			check(text)
		}
	}
}

// An estimate is off by the standard error of HyperLogLog, whatever the members
// are and however many: off more is a poor hash, and so is a mean that is off.
func TestSetEstimate(t *testing.T) {
	const most = 1.04 / 64
	for name, member := range populations {
		for _, size := range []uint64{100, 1000, 20_000} {
			var sum, squares float64
			const trials = 25
			for trial := range uint64(trials) {
				var s set
				for i := range size {
					s.insert(placeOf(member(trial*size + i)))
				}
				off := s.estimate()/float64(size) - 1
				sum += off
				squares += off * off
			}
			mean, deviation := sum/trials, math.Sqrt(squares/trials)
			if math.Abs(mean) > 3.5*most/math.Sqrt(trials) || deviation > 1.4*most {
				t.Errorf("%d of %s: off by %.2f %%, by %.2f %% in the mean", size, name, 100*deviation, 100*mean)
			}
		}
	}
}

func TestSetEstimateOfFewAndOfMany(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 100, 1_000_000} {
		var s set
		for i := range n {
			s.insert(placeOf(strconv.AppendInt([]byte("user-"), int64(i), 10)))
		}
		if got := s.estimate(); math.Abs(got-float64(n)) > 3*0.016*float64(n)+0.5 {
			t.Errorf("%d members: estimate %g", n, got)
		}
	}
}

// The place of a member is the same in every version and on every machine, or
// sketches of two would not merge. There is one for each way through the hash.
func TestPlaceIsForEver(t *testing.T) {
	for member, want := range map[string]uint32{
		"": 0x5d201, "a": 0x87801, "ab": 0xaa001, "abc": 0x32801, "abcd": 0x75001, "user-1": 0xab103, "user-12": 0x31905,
		"user-123": 0xa0403, "10.20.30.40": 0x7ff05, "0123456789abcdef": 0xc8304,
		"0123456789abcdefg": 0xe3203, "\x80\xff\x00\xfe\x81\xc0\x7f\x01": 0x2c303,
		"0b9d3f6a-8c1e-4f7b-9a2d-6e5c4b3a2918":                    0xe3001,
		"https://example.com/orders/1?page=2&sort=descending&x=y": 0xfad04,
	} {
		if got := placeOf([]byte(member)); got != want {
			t.Errorf("%q: %#x, want %#x", member, got, want)
		}
	}
}
