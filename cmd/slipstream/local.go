package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"slipstream/deploy/layer"
	"slipstream/emulator"
	"slipstream/emulator/account"
	"slipstream/emulator/fault"
)

const localSynopsis = `local [flags] -- COMMAND...

Runs COMMAND, a function that speaks the Lambda Runtime API, with its extensions as Lambda would. With --invoke it
invokes the function so often and ends; without, it serves the Invoke API until Ctrl-C:
  aws lambda invoke --endpoint-url http://ADDRESS --function-name NAME answer.json
Answers go to standard output; the function's log, notices and the summary to standard error.`

// shutdownTime is what an emulator may take to end: SHUTDOWN's 2 s and the rest.
const shutdownTime = 15 * time.Second

// local is what the flags of `slipstream local` say.
type local struct {
	function    emulator.Function
	config      emulator.Config
	noExtension bool
	invoke      int
	event       string
	payload     []byte
}

// list is a flag that may be repeated.
type list struct{ to *[]string }

func (l list) String() string { return "" }

func (l list) Set(text string) error {
	*l.to = append(*l.to, text)
	return nil
}

func runLocal(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	l, err := parseLocal(args, stdout)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "slipstream-local-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if len(l.function.Extensions) == 0 && !l.noExtension {
		own, err := ownExtension(ctx, scratch)
		if err != nil {
			return err
		}
		l.function.Extensions = []string{own}
	}
	book := account.New()
	l.config.Functions, l.config.LogWriter, l.config.Observe = []emulator.Function{l.function}, stderr, book.Observe()
	running, err := emulator.Start(ctx, l.config)
	if err != nil {
		return err
	}
	for _, notice := range running.Notices() {
		fmt.Fprintln(stderr, "notice:", notice)
	}
	err = l.drive(ctx, running, stdout, stderr)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err = errors.Join(err, running.Shutdown(ending))
	fmt.Fprintf(stderr, "\n%s:\n", l.function.Name)
	return errors.Join(err, book.Summary().Print(stderr))
}

// drive invokes, or lets others invoke until the user has enough.
func (l *local) drive(ctx context.Context, running *emulator.Lambda, stdout, stderr io.Writer) error {
	if l.invoke > 0 {
		parallel := l.function.Concurrency * max(l.function.MaxConcurrency, 1)
		return invokeMany(ctx, running, l.function.Name, l.payload, l.invoke, parallel, stdout)
	}
	fmt.Fprintf(stderr, "Invoke API of %s on %s, Ctrl-C ends\n", l.function.Name, running.Endpoint())
	<-ctx.Done()
	return nil
}

func parseLocal(args []string, stdout io.Writer) (*local, error) {
	l := &local{}
	f, c := &l.function, &l.config
	var faults, env, binds []string
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	flags.Var(list{&f.Extensions}, "extension", "run the extension at `PATH` (repeatable; default our own)")
	flags.BoolVar(&l.noExtension, "no-extension", false, "run no extension, not even our own")
	flags.IntVar(&l.invoke, "invoke", 0, "invoke `N` times and end")
	flags.StringVar(&l.event, "event", "{}", "the event of --invoke: a `FILE or JSON`")
	flags.IntVar(&f.Concurrency, "concurrency", 1, "at most `N` environments at once")
	flags.IntVar(&f.MemoryMB, "memory", 128, "memory in `MB`; it gives the CPU share too, 1769 MB a core")
	flags.DurationVar(&f.Timeout, "timeout", 3*time.Second, "the function's timeout")
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:0", "serve the Invoke API on `ADDRESS`")
	flags.BoolVar(&c.Freeze, "freeze", true, "freeze the environment between invocations")
	flags.DurationVar(&c.IdleTimeout, "idle", 0, "spin an environment down after this time (default 10m)")
	flags.StringVar(&f.InitType, "init-type", "on-demand", "the mode as in AWS_LAMBDA_INITIALIZATION_TYPE: on-demand,\n"+
		"provisioned-concurrency, snap-start or lambda-managed-instances;\nall but on-demand run Init at the start")
	flags.IntVar(&f.MaxConcurrency, "max-concurrency", 0,
		"at most `N` invocations at once in one environment of\nlambda-managed-instances (default 16)")
	flags.Var(list{&faults}, "fault",
		"do `RULE` wrong, as in telemetry:drop,every=3 or kill:function,invoke=2 (repeatable)")
	flags.StringVar(&f.LogFormat, "log-format", "",
		"the function's log format: Text or JSON (default Text;\nlambda-managed-instances have JSON only)")
	flags.Var(list{&env}, "env", "set `NAME=VALUE` for function and extensions; NAME alone passes ours on (repeatable)")
	flags.Var(list{&binds}, "bind", "keep the folder `DIR` of this machine reachable inside (repeatable)")
	flags.StringVar(&f.Name, "name", "", "the function's name (default the command's)")
	flags.StringVar(&f.LayerDir, "layer", "", "the folder `DIR` appears as /opt")
	if err := parse(flags, localSynopsis, args, stdout); err != nil {
		return nil, err
	}
	f.Command = flags.Args()
	if err := l.complete(faults, env, binds); err != nil {
		return nil, usageError{err}
	}
	return l, nil
}

// complete turns texts into values and checks what flags cannot.
func (l *local) complete(faults, env, binds []string) (err error) {
	f := &l.function
	switch {
	case len(f.Command) == 0:
		return errors.New("say after -- how to run the function, as in slipstream local --invoke 1 -- ./function")
	case l.noExtension && len(f.Extensions) > 0:
		return errors.New("--extension and --no-extension exclude each other")
	case l.invoke < 0 || f.Concurrency < 1:
		return errors.New("--invoke and --concurrency are counts: use 1 or more")
	case f.MaxConcurrency < 0 || f.MaxConcurrency > 0 && f.InitType != "lambda-managed-instances":
		return errors.New("--max-concurrency is a count for --init-type lambda-managed-instances")
	}
	if f.InitType == "lambda-managed-instances" && f.MaxConcurrency == 0 {
		f.MaxConcurrency = 16
	}
	if f.Name == "" {
		f.Name = strings.TrimSuffix(filepath.Base(f.Command[0]), filepath.Ext(f.Command[0]))
	}
	for _, text := range faults {
		rule, err := fault.Parse(text)
		if err != nil {
			return fmt.Errorf("--fault: %w", err)
		}
		l.config.Faults = append(l.config.Faults, rule)
	}
	if f.Env, err = environment(env); err != nil {
		return err
	}
	for _, dir := range append(binds, fileDestinations(f.Env["SLIPSTREAM_DESTINATIONS"])...) {
		if dir, err = filepath.Abs(dir); err != nil {
			return fmt.Errorf("--bind: %w", err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the folder that is reachable inside: %w", err)
		}
		l.config.Binds = append(l.config.Binds, dir)
	}
	l.payload, err = readEvent(l.event)
	return err
}

// environment reads NAME=VALUE and, as docker does, NAME for our own value.
func environment(texts []string) (map[string]string, error) {
	env := map[string]string{}
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %s: write NAME=VALUE", text)
		}
		if !found {
			if value, found = os.LookupEnv(name); !found {
				return nil, fmt.Errorf("--env %s: it is not set here; write %s=VALUE", name, name)
			}
		}
		env[name] = value
	}
	return env, nil
}

// fileDestinations gives the folders that the extension writes to: without a
// bind they would be the sandbox's own and gone with it.
func fileDestinations(texts string) []string {
	var dirs []string
	for text := range strings.FieldsFuncSeq(texts, func(r rune) bool { return r == ',' || r == ' ' }) {
		if u, err := url.Parse(text); err == nil && u.Scheme == "file" && u.Path != "" {
			dirs = append(dirs, u.Path)
		}
	}
	return dirs
}

// readEvent takes JSON as it is, and anything else as the name of a file.
func readEvent(text string) ([]byte, error) {
	if json.Valid([]byte(text)) {
		return []byte(text), nil
	}
	content, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("--event is neither JSON nor a file: %w", err)
	}
	if !json.Valid(content) {
		return nil, fmt.Errorf("--event %s: the file is not JSON", text)
	}
	return content, nil
}

// ownExtension gives our extension under the name that it has in the layer.
func ownExtension(ctx context.Context, scratch string) (string, error) {
	path, err := layer.Extension(ctx)
	if err != nil {
		return "", err
	}
	named := filepath.Join(scratch, layer.Name)
	return named, os.Symlink(path, named)
}
