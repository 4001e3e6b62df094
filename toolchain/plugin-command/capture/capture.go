// Package capture collects what a command prints: for the state, for error texts, and line by line for the log.
package capture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	p "github.com/pulumi/pulumi-go-provider"
)

// Names of the variables by which a command sees the output of the run before it.
const (
	StdoutVar = "PULUMI_COMMAND_STDOUT"
	StderrVar = "PULUMI_COMMAND_STDERR"
)

// maxLogLine bounds what is logged of one line; the whole line is in the outputs all the same.
const maxLogLine = 64 * 1024

// Logging says which streams are logged. It is the value of the property of that name, nil when unset.
type Logging[T ~string] struct{ Value *T }

// Stdout tells whether standard output is to be logged.
func (l Logging[T]) Stdout() bool { return l.is("stdout") }

// Stderr tells whether standard error is to be logged.
func (l Logging[T]) Stderr() bool { return l.is("stderr") }

func (l Logging[T]) is(stream T) bool {
	return l.Value == nil || *l.Value == stream || *l.Value == "stdoutAndStderr"
}

// Output is the output of one command. Both streams may be written to at once.
type Output struct {
	mu             sync.Mutex
	stdout, stderr bytes.Buffer
	both           bytes.Buffer
	lines          []*lineLogger
}

// Writers returns the writers for a command's two streams.
func (o *Output) Writers(ctx context.Context, logStdout, logStderr bool) (stdout, stderr io.Writer) {
	return o.writer(ctx, &o.stdout, logStdout), o.writer(ctx, &o.stderr, logStderr)
}

func (o *Output) writer(ctx context.Context, own *bytes.Buffer, log bool) io.Writer {
	s := &stream{output: o, own: own}
	if log {
		s.log = &lineLogger{ctx: ctx}
		o.lines = append(o.lines, s.log)
	}
	return s
}

// Flush logs what was printed without a line end. Call it when the command has ended.
func (o *Output) Flush() {
	for _, l := range o.lines {
		l.flush()
	}
}

// Stdout and Stderr return a stream as it is kept in the state: without the last line end.
func (o *Output) Stdout() string { return o.trimmed(&o.stdout) }

// Stderr returns standard error as it is kept in the state.
func (o *Output) Stderr() string { return o.trimmed(&o.stderr) }

func (o *Output) trimmed(b *bytes.Buffer) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSuffix(b.String(), "\n")
}

// Error describes a failed command, with all it printed, in the words of the official plugin.
func (o *Output) Error(err error, command string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Errorf("%w: running %q:\n%s", err, command, o.both.String())
}

type stream struct {
	output *Output
	own    *bytes.Buffer
	log    *lineLogger
}

func (s *stream) Write(b []byte) (int, error) {
	s.output.mu.Lock()
	s.own.Write(b)
	s.output.both.Write(b)
	s.output.mu.Unlock()
	if s.log != nil {
		s.log.write(b)
	}
	return len(b), nil
}

// lineLogger cuts a stream into lines. It keeps no more of a line than it will log, so the longest of lines cannot stop it.
type lineLogger struct {
	ctx     context.Context
	mu      sync.Mutex
	line    []byte
	dropped int
}

func (l *lineLogger) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		keep := min(len(part), maxLogLine-len(l.line))
		l.line = append(l.line, part[:keep]...)
		l.dropped += len(part) - keep
		if end < 0 {
			return
		}
		b = b[end+1:]
		l.emit()
	}
}

func (l *lineLogger) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.emit()
	}
}

func (l *lineLogger) emit() {
	text := strings.TrimSuffix(string(l.line), "\r")
	if l.dropped > 0 {
		text += fmt.Sprintf("... (%d more bytes on this line)", l.dropped)
	}
	l.line, l.dropped = l.line[:0], 0
	// After a cancellation the engine takes no more messages, and each try would only cost time.
	if l.ctx.Err() == nil {
		p.GetLogger(l.ctx).InfoStatus(text)
	}
}
