package cli

import (
	"io"
	"time"

	"github.com/rs/zerolog"
)

// newLog makes the log of the server on w: one JSON object a line, or lines for
// people. The configuration has been checked, so the level is one.
//
// Times are UTC with milliseconds. They come from a hook, because the format of
// zerolog's own timestamp is a variable of the whole process.
func newLog(w io.Writer, c logConfig) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if c.Format == "console" || c.Format == "auto" && isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	return zerolog.New(w).Level(level).Hook(zerolog.HookFunc(stamp))
}

func stamp(e *zerolog.Event, _ zerolog.Level, _ string) {
	var b [40]byte
	e.RawJSON(zerolog.TimestampFieldName, time.Now().UTC().AppendFormat(b[:0], `"2006-01-02T15:04:05.000Z"`))
}
