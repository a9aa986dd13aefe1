package otlp

import (
	"errors"

	"slipstream/telemetry"
	"slipstream/wire"
)

// codec is what the receiver knows of OTLP's messages.
type codec struct {
	check    func(signal telemetry.Signal, body []byte) (records int, err error)
	complete func(dst []byte, signal telemetry.Signal, body []byte) []byte
	fromJSON func(dst []byte, signal telemetry.Signal, json []byte) ([]byte, error)
}

func codecOf(Config) codec {
	return codec{
		check:    wire.CheckExport,
		complete: func(dst []byte, _ telemetry.Signal, body []byte) []byte { return append(dst, body...) },
		fromJSON: func(dst []byte, _ telemetry.Signal, json []byte) ([]byte, error) {
			return dst, errors.New("no JSON")
		},
	}
}

func reasonOf(error) string { return "malformed" }
