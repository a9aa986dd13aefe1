package redact

// gap is how long the sign between two groups is: a blank or a dash, or a blank
// of a query.
func gap(b []byte, i int) int {
	switch {
	case b[i] == ' ' || b[i] == '-' || b[i] == '+':
		return 1
	case hasFold(b, i, "%20"):
		return 3
	}
	return 0
}

// partOfNumber tells whether what stands before i makes the digits there part of
// another thing: a longer number, a word, a fraction, an id with dashes.
func partOfNumber(b []byte, i int) bool {
	if !startsWord(b, i) {
		return true
	}
	if i < 2 || escapedBefore(b, i) {
		return false
	}
	switch escaped := escapedBefore(b, i-1); {
	case escaped:
	case b[i-1] == '.':
		return is(b[i-2], digit)
	case b[i-1] == '-':
		return is(b[i-2], alnum|dashes)
	}
	return false
}

// goesOn tells whether the number that ends at i is part of a longer thing.
func goesOn(b []byte, i int) bool {
	if !endsWord(b, i) {
		return true
	}
	return i+1 < len(b) && (b[i] == '.' || b[i] == '-') && is(b[i+1], digit)
}

// card is the number of a payment card: an issuer's prefix and length, the check
// digit of ISO/IEC 7812, and no groups, or those that are on cards.
func card(b []byte, start int) (from, to int, ok bool) {
	if partOfNumber(b, start) {
		return 0, 0, false
	}
	var digits [20]byte
	var ends [len(digits)]struct{ n, to int } // of the groups
	n, groups := 0, 0
	for i := start; i < len(b) && n < len(digits); {
		for ; i < len(b) && n < len(digits) && is(b[i], digit); i++ {
			digits[n] = b[i] - '0'
			n++
		}
		if groups > 0 && ends[groups-1].n == n {
			break
		}
		ends[groups].n, ends[groups].to = n, i
		if groups++; i < len(b) {
			i += gap(b, i)
		}
	}
	// A number that follows it with a blank between is not its own.
	for ; groups > 0 && ends[groups-1].n >= 13; groups-- {
		n, to = ends[groups-1].n, ends[groups-1].to
		asOnCards := groups == 1 || ends[0].n == 4 && (ends[1].n == 8 && n >= 15 || ends[1].n == 10 && n <= 15)
		if asOnCards && n <= 19 && issued(digits[:n]) && luhn(digits[:n]) && !goesOn(b, to) {
			return start, to, true
		}
	}
	return 0, 0, false
}

// issued tells whether a card's number begins as the networks' do and has their
// length.
func issued(d []byte) bool {
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	six := four*100 + int(d[4])*10 + int(d[5])
	n := len(d)
	switch {
	case d[0] == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34 || two == 37: // American Express
		return n == 15
	case four >= 3528 && four <= 3589, two == 62, two == 65, four == 6011, four >= 6440 && four <= 6499,
		six >= 622126 && six <= 622925: // JCB, UnionPay, Discover
		return n >= 16
	case two == 30 && d[2] <= 5, two == 36, two == 38, two == 39: // Diners Club
		return n == 14 || n == 16
	case four == 5018, four == 5020, four == 5038, four == 5893, four == 6304, four == 6759, four >= 6761 &&
		four <= 6763: // Maestro
		return n >= 16
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i])
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// ibanLengths is the registry of ISO 13616: how long a country's numbers are.
var ibanLengths = []struct {
	country string
	length  int
}{
	{"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
	{"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
	{"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
	{"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22},
	{"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32},
	{"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19},
	{"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
	{"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31},
	{"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28}, {"TL", 23},
	{"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20}, {"YE", 30},
}

// account is an IBAN, in groups or not, with the check of ISO 7064 mod 97-10.
func account(b []byte, start int) (from, to int, ok bool) {
	if !startsWord(b, start) {
		return 0, 0, false
	}
	length := 0
	for _, known := range ibanLengths {
		if b[start]&^0x20 == known.country[0] && b[start+1]&^0x20 == known.country[1] {
			length = known.length
		}
	}
	var text [40]byte
	n, i := 0, start
	for to = start; i < len(b) && n < length; {
		switch {
		case is(b[i], alnum):
			text[n] = b[i] &^ 0x20
			if is(b[i], digit) {
				text[n] = b[i]
			}
			n++
			i++
			to = i
		case gap(b, i) > 0 && i == to && n%2 == 0:
			i += gap(b, i)
		default:
			return 0, 0, false
		}
	}
	if n < length || n < 15 || !endsWord(b, to) {
		return 0, 0, false
	}
	rest := 0
	for k := range n {
		switch c := text[(k+4)%n]; {
		case is(c, digit):
			rest = (rest*10 + int(c-'0')) % 97
		default:
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	return start, to, rest == 1
}

// socialSecurity is ddd-dd-dddd as the US gives it: no area 000, 666 or 9xx, no
// group 00, no serial 0000.
func socialSecurity(b []byte, start, end int) (from, to int, ok bool) {
	text := string(b[start:end])
	ok = !partOfNumber(b, start) && !goesOn(b, end) && text[:3] != "000" && text[:3] != "666" && text[0] != '9' &&
		text[4:6] != "00" && text[7:] != "0000"
	return start, end, ok
}

// phoneNumber is +, a country and a number, or the ten digits of North America
// in groups.
func phoneNumber(b []byte, start, end int) (from, to int, ok bool) {
	if b[start] == '+' || b[start] == '%' {
		n, i := 0, end-1
		for to = i; i < len(b) && n < 16; i++ {
			switch {
			case is(b[i], digit):
				n, to = n+1, i+1
			case i-to < 2 && (b[i] == ' ' || b[i] == '-' || b[i] == '.' || b[i] == '(' || b[i] == ')' || b[i] == '/'):
			default:
				return start, to, n >= 8 && n <= 15 && startsWord(b, start)
			}
		}
		return start, to, n >= 8 && n <= 15 && startsWord(b, start)
	}
	if b[start] == '(' { // (212) 555-0123
		for to = end; to < len(b) && to < end+9 && (is(b[to], digit) || b[to] == ' ' || b[to] == '-'); to++ {
		}
		return start, to, to-end >= 8 && endsWord(b, to)
	}
	// 555-0123 with 212- before: the literal is its end.
	from = start - 4
	ok = from >= 0 && run(b[from:], 0, digit) == 3 && !is(b[start-1], alnum) && !partOfNumber(b, from) &&
		!goesOn(b, end)
	return from, end, ok
}
