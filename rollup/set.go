package rollup

import (
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"slices"
)

const (
	// precision is the binary logarithm of how many registers a set has: the
	// standard error is 1.04/√4096, 1.6 %.
	precision = 12
	registers = 1 << precision
	// maxSparse is how many registers are kept one by one, at 8 to 16 bytes each,
	// before all of them are, at a byte each.
	maxSparse = 256
	// maxPending is how many places wait for their registers, 4 bytes each.
	maxPending   = 16
	pendingBytes = 4 * maxPending
)

// set counts different members by HyperLogLog. A register's value is the
// greatest that any member gives it, so merging is exact and needs no order. Not
// even reading serves several goroutines: what is pending is settled first.
type set struct {
	// pending are places that are not in the registers yet. The registers of many
	// sets are more than the processor's caches hold, and waiting for one costs as
	// much as all else that an insert does; several are waited for at once.
	pending [maxPending]uint32
	waiting uint32   // how many of pending
	n       uint32   // how many of sparse are not 0
	sparse  []uint32 // register<<8 | value, by the register's low bits; at most half of it is not 0
	dense   *[registers]uint8
}

// placeOf gives the register of a member and its value there, as register<<8 |
// value. It is a part of the format: sketches of other environments, and other
// versions, must put a member at the same place. The register is the highest 12
// bits of the member's hash, the value is how many of the other 52 are 0 before
// the first that is not, and 1.
func placeOf(member []byte) uint32 {
	h := hash(member)
	value := bits.LeadingZeros64(h<<precision|1<<(precision-1)) + 1
	return uint32(h>>(64-precision))<<8 | uint32(value)
}

// The keys of hash are fractions that nobody chose: of the golden ratio and of √2.
const (
	keyA = 0x9e3779b97f4a7c15
	keyB = 0x6a09e667f3bcc909
)

// hash folds products of 16 bytes at a time, as wyhash does: byte by byte, a
// member of 100 took as long as all else that an insert does. It is the same on
// every machine, as words are little-endian. Where 16 bytes or less are left, the
// two words may overlap; of 3 or less there are the first, the middle and the last.
// The length comes in late: where bytes come in, "1000" and "10000" are the same.
// It resists no one who makes members for it: sets are no security.
func hash(b []byte) uint64 {
	h, length := uint64(keyA), uint64(len(b))
	for len(b) > 16 {
		h = mix(keyB^binary.LittleEndian.Uint64(b), h^binary.LittleEndian.Uint64(b[8:]))
		b = b[16:]
	}
	var first, last uint64
	switch n := len(b); {
	case n >= 8:
		first, last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		first, last = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		first, last = uint64(b[0])<<8|uint64(b[n/2]), uint64(b[n-1])
	}
	return mix(keyA^length^mix(keyB^first, h^last), keyB)
}

// mix folds the product of a and b.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// maxRegister is the greatest value that placeOf gives.
const maxRegister = 64 - precision + 1

// insert notes a place and gives how many bytes it took for that.
func (s *set) insert(place uint32) (grew int) {
	s.pending[s.waiting%maxPending] = place
	if s.waiting++; s.waiting < maxPending {
		return 0
	}
	return s.settle()
}

// settle puts what is pending into the registers and gives how many bytes it
// took for that.
func (s *set) settle() (grew int) {
	before := s.bytes()
	for _, place := range s.pending[:s.waiting] {
		if s.dense == nil && !s.putSparse(place) {
			s.spread()
		}
		if s.dense != nil {
			register := &s.dense[place>>8%registers]
			*register = max(*register, uint8(place))
		}
	}
	s.waiting = 0
	return s.bytes() - before
}

// putSparse puts a place into the sparse table. It is false if there is no room.
func (s *set) putSparse(place uint32) bool {
	slot := s.slot(place)
	if slot != nil && *slot != 0 {
		*slot = max(*slot, place)
		return true
	}
	if s.n == maxSparse {
		return false
	}
	if 2*int(s.n) >= len(s.sparse) {
		old := s.sparse
		s.sparse = make([]uint32, max(2*len(old), 2*maxPending))
		for _, p := range old {
			if p != 0 {
				*s.slot(p) = p
			}
		}
		slot = s.slot(place)
	}
	*slot = place
	s.n++
	return true
}

// spread makes the sparse registers dense.
func (s *set) spread() {
	s.dense = new([registers]uint8)
	for _, p := range s.sparse {
		if p != 0 {
			s.dense[p>>8] = uint8(p)
		}
	}
	s.sparse, s.n = nil, 0
}

// slot is where a place's register is in the sparse table, or would be; nil
// while there is no table.
func (s *set) slot(place uint32) *uint32 {
	if len(s.sparse) == 0 {
		return nil
	}
	mask := uint32(len(s.sparse) - 1)
	for i := place >> 8 & mask; ; i = (i + 1) & mask {
		if p := &s.sparse[i]; *p == 0 || *p>>8 == place>>8 {
			return p
		}
	}
}

func (s *set) merge(other *set) {
	for place := range other.places() {
		s.insert(place)
	}
}

// places gives the registers that are not 0, with their values, in no order.
func (s *set) places() iter.Seq[uint32] {
	s.settle()
	return func(yield func(uint32) bool) {
		for _, place := range s.sparse {
			if place != 0 && !yield(place) {
				return
			}
		}
		if s.dense == nil {
			return
		}
		for i, value := range s.dense {
			if value != 0 && !yield(uint32(i)<<8|uint32(value)) {
				return
			}
		}
	}
}

func (s *set) bytes() int {
	if s.dense != nil {
		return registers
	}
	return 4 * cap(s.sparse)
}

// appendSketch appends the registers that are not 0, 3 bytes each: the register
// in two, the greater first, and its value.
func (s *set) appendSketch(dst []byte) []byte {
	for _, place := range slices.Sorted(s.places()) {
		dst = append(dst, byte(place>>16), byte(place>>8), byte(place))
	}
	return dst
}

// estimate is about how many different members there were: Ertl's improved raw
// estimator (arXiv:1702.01284), which needs no tables and no thresholds.
func (s *set) estimate() float64 {
	var histogram [maxRegister + 1]int
	histogram[0] = registers
	for place := range s.places() {
		histogram[min(place&0xff, maxRegister)]++
		histogram[0]--
	}
	if histogram[0] == registers {
		return 0
	}
	z := registers * tau(1-float64(histogram[maxRegister])/registers)
	for k := maxRegister - 1; k >= 1; k-- {
		z = 0.5 * (z + float64(histogram[k]))
	}
	z += registers * sigma(float64(histogram[0])/registers)
	return math.Round(registers / (2 * math.Ln2) * registers / z)
}

func sigma(x float64) float64 {
	y, z := 1.0, x
	for before := -1.0; z != before; {
		x *= x
		before = z
		z += x * y
		y += y
	}
	return z
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for before := -1.0; z != before; {
		x = math.Sqrt(x)
		before = z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
	}
	return z / 3
}
