// Command loggers writes with Go's loggers, each in turn, what the tests of
// test/loggers read: a line at each level, with a field.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func message(level string) string { return "a " + level + ` "line"` }

func main() {
	switch os.Args[1] {
	case "zap":
		config := zap.NewProductionConfig()
		config.Level = zap.NewAtomicLevelAt(zap.DebugLevel)
		config.Sampling = nil
		config.OutputPaths = []string{"stdout"}
		logger := zap.Must(config.Build(zap.WithFatalHook(zapcore.WriteThenNoop)))
		order := zap.Int("order", 42)
		logger.Debug(message("debug"), order)
		logger.Info(message("info"), order)
		logger.Warn(message("warn"), order)
		logger.Error(message("error"), order)
		logger.DPanic(message("dpanic"), order)
	case "logrus", "logrus-text":
		logger := logrus.New()
		logger.SetOutput(os.Stdout)
		logger.SetLevel(logrus.TraceLevel)
		logger.ExitFunc = func(int) {}
		if os.Args[1] == "logrus" {
			logger.SetFormatter(&logrus.JSONFormatter{})
		}
		entry := logger.WithField("order", 42)
		entry.Trace(message("trace"))
		entry.Debug(message("debug"))
		entry.Info(message("info"))
		entry.Warn(message("warn"))
		entry.Error(message("error"))
		entry.Fatal(message("fatal"))
	case "slog", "slog-text":
		options := &slog.HandlerOptions{Level: slog.LevelDebug - 4}
		var handler slog.Handler = slog.NewJSONHandler(os.Stdout, options)
		if os.Args[1] == "slog-text" {
			handler = slog.NewTextHandler(os.Stdout, options)
		}
		logger := slog.New(handler)
		logger.Log(context.Background(), slog.LevelDebug-4, message("trace"), "order", 42)
		logger.Debug(message("debug"), "order", 42)
		logger.Info(message("info"), "order", 42)
		logger.Log(context.Background(), slog.LevelInfo+2, message("notice"), "order", 42)
		logger.Warn(message("warn"), "order", 42)
		logger.Error(message("error"), "order", 42)
	case "zerolog":
		zerolog.SetGlobalLevel(zerolog.TraceLevel)
		logger := zerolog.New(os.Stdout).With().Timestamp().Logger()
		for _, level := range []zerolog.Level{zerolog.TraceLevel, zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel,
			zerolog.ErrorLevel} {
			logger.WithLevel(level).Int("order", 42).Msg(message(level.String()))
		}
	}
}
