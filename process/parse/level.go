package parse

import "slipstream/telemetry"

// levels are the names that loggers use, lower case, with OpenTelemetry's number
// and whether that number says all that the name does. From OpenTelemetry's logs
// data model, appendix B, and for winston's from its order of npm's levels.
var levels = [...]struct {
	name  string
	level telemetry.Level
	exact bool
}{
	{"info", telemetry.LevelInfo, true},
	{"error", telemetry.LevelError, true},
	{"warn", telemetry.LevelWarn, true},
	{"warning", telemetry.LevelWarn, true},
	{"debug", telemetry.LevelDebug, true},
	{"trace", telemetry.LevelTrace, true},
	{"fatal", telemetry.LevelFatal, true},
	{"critical", telemetry.LevelFatal, true}, // Python's
	{"information", telemetry.LevelInfo, true},
	{"notice", telemetry.LevelInfo + 1, false}, // syslog's
	{"err", telemetry.LevelError, true},
	{"crit", telemetry.LevelFatal, true},
	{"alert", telemetry.LevelFatal + 1, false},
	{"emerg", telemetry.LevelFatal + 2, false},
	{"emergency", telemetry.LevelFatal + 2, false},
	{"http", telemetry.LevelDebug + 3, false}, // winston's
	{"verbose", telemetry.LevelDebug + 2, false},
	{"silly", telemetry.LevelTrace, false},
	{"dpanic", telemetry.LevelFatal, false}, // zap's
	{"panic", telemetry.LevelFatal + 1, false},
	{"severe", telemetry.LevelError, true}, // java.util.logging's
}

const longestName = len("information")

// levelNamed gives the level of a name in any case, 0 for none.
func levelNamed(name []byte) (level telemetry.Level, exact bool) {
	if len(name) < 3 || len(name) > longestName {
		return 0, false
	}
	var lower [longestName]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	for i := range levels {
		if of := &levels[i]; of.name[0] == lower[0] && of.name == string(lower[:len(name)]) {
			return of.level, of.exact
		}
	}
	return 0, false
}

// levelOf reads a record's own level: a name, or pino's and bunyan's number,
// which counts only where numbered says that the record has a message beside it.
func levelOf(value []byte, numbered bool) (level telemetry.Level, exact bool) {
	if value[0] != '"' {
		return levelNumbered(value, numbered)
	}
	return levelText(value[1 : len(value)-1])
}

// levelText reads a name, or slog's with an offset.
func levelText(name []byte) (level telemetry.Level, exact bool) {
	for i, c := range name {
		if c == '+' || c == '-' {
			return levelOffset(name[:i], name[i:])
		}
	}
	return levelNamed(name)
}

// levelNumbered reads 10 (trace) to 60 (fatal): custom levels lie between.
func levelNumbered(value []byte, numbered bool) (telemetry.Level, bool) {
	if len(value) != 2 || !numbered || !isDigit(value[0]) || !isDigit(value[1]) {
		return 0, false
	}
	n := int(value[0]-'0')*10 + int(value[1]-'0')
	if n < 10 || n > 60 {
		return 0, false
	}
	return telemetry.Level(1 + (n-10)*4/10), n%10 == 0
}

// levelOffset reads what slog makes of a level between its own: INFO+2.
func levelOffset(name, offset []byte) (telemetry.Level, bool) {
	base, _ := levelNamed(name)
	if base == 0 || len(offset) < 2 || len(offset) > 3 {
		return 0, false
	}
	n := 0
	for _, c := range offset[1:] {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	if offset[0] == '-' {
		n = -n
	}
	return telemetry.Level(min(max(int(base)+n, int(telemetry.LevelTrace)), int(telemetry.LevelFatal)+3)), false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
