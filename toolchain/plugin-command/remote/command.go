package remote

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"

	"openstack-ha/toolchain/plugin-command/capture"
)

// graceOnCancel is how long to wait after each way to end a cancelled command.
const graceOnCancel = time.Second

// Logging says which streams of a command are logged.
type Logging string

// Values lists the kinds of logging.
func (Logging) Values() []infer.EnumValue[Logging] {
	return []infer.EnumValue[Logging]{
		{Name: "stdout", Value: "stdout", Description: "Capture stdout in logs but not stderr"},
		{Name: "stderr", Value: "stderr", Description: "Capture stderr in logs but not stdout"},
		{Name: "stdoutAndStderr", Value: "stdoutAndStderr", Description: "Capture stdout and stderr in logs"},
		{Name: "none", Value: "none", Description: "Capture no logs"},
	}
}

// Command is the resource command:remote:Command.
type Command struct{}

// Annotate describes the resource.
func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "A command to run on a remote host. The connection is established via ssh.")
}

// CommandInputs are the inputs of Command.
type CommandInputs struct {
	Stdin                  *string           `pulumi:"stdin,optional"`
	Logging                *Logging          `pulumi:"logging,optional"`
	Connection             *Connection       `pulumi:"connection" provider:"secret"`
	Environment            map[string]string `pulumi:"environment,optional"`
	Triggers               *[]any            `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create                 *string           `pulumi:"create,optional"`
	Update                 *string           `pulumi:"update,optional"`
	Delete                 *string           `pulumi:"delete,optional"`
	AddPreviousOutputInEnv *bool             `pulumi:"addPreviousOutputInEnv,optional"`
}

// Annotate describes the inputs.
func (c *CommandInputs) Annotate(a infer.Annotator) {
	a.Describe(&c.Stdin, "Pass a string to the command's process as standard in")
	a.Describe(&c.Logging, "If the command's stdout and stderr should be logged. This doesn't affect their capture as outputs. Defaults to both.")
	a.Describe(&c.Connection, "The parameters with which to connect to the remote host.")
	a.Describe(&c.Environment, "Additional environment variables for the command's process. The SSH server must accept them (AcceptEnv).")
	a.Describe(&c.Triggers, "The resource is replaced if any of these values change. They can be of any type.")
	a.Describe(&c.Create, "The command to run on creation, and on update if there is no `update`.")
	a.Describe(&c.Update, "The command to run on update. If empty, `create` is run.")
	a.Describe(&c.Delete, "The command to run on deletion.")
	a.Describe(&c.AddPreviousOutputInEnv, "If the previous stdout and stderr are put in the environment of the next run, as PULUMI_COMMAND_STDOUT and "+
		"PULUMI_COMMAND_STDERR. Defaults to true.")
}

// BaseOutputs are the results of a command.
type BaseOutputs struct {
	Stdout string `pulumi:"stdout"`
	Stderr string `pulumi:"stderr"`
}

// Annotate describes the results.
func (b *BaseOutputs) Annotate(a infer.Annotator) {
	a.Describe(&b.Stdout, "The standard output of the command's process")
	a.Describe(&b.Stderr, "The standard error of the command's process")
}

// CommandOutputs is the state of Command.
type CommandOutputs struct {
	CommandInputs
	BaseOutputs
}

// Create runs the command `create`, if there is one.
func (Command) Create(ctx context.Context, req infer.CreateRequest[CommandInputs]) (infer.CreateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs}
	id, err := resource.NewUniqueHex(req.Name, 8, 0)
	if err == nil && !req.DryRun && req.Inputs.Create != nil {
		err = state.run(ctx, *req.Inputs.Create)
	}
	return infer.CreateResponse[CommandOutputs]{ID: id, Output: state}, err
}

// Update runs `update`, else `create`, else nothing.
func (Command) Update(
	ctx context.Context, req infer.UpdateRequest[CommandInputs, CommandOutputs],
) (infer.UpdateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs, BaseOutputs: req.State.BaseOutputs}
	command := req.Inputs.Update
	if command == nil {
		command = req.Inputs.Create
	}
	var err error
	if !req.DryRun && command != nil {
		err = state.run(ctx, *command)
	}
	return infer.UpdateResponse[CommandOutputs]{Output: state}, err
}

// Delete runs `delete`, if there is one, with the inputs of the last create or update.
func (Command) Delete(ctx context.Context, req infer.DeleteRequest[CommandOutputs]) (infer.DeleteResponse, error) {
	if req.State.Delete == nil {
		return infer.DeleteResponse{}, nil
	}
	return infer.DeleteResponse{}, req.State.run(ctx, *req.State.Delete)
}

// run runs a command with the inputs in c, and puts what it printed into c.
func (c *CommandOutputs) run(ctx context.Context, command string) error {
	client, err := c.Connection.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()

	if err := c.setEnvironment(ctx, session); err != nil {
		return err
	}
	if c.Stdin != nil && *c.Stdin != "" {
		session.Stdin = strings.NewReader(*c.Stdin)
	}
	logging := capture.Logging[Logging]{Value: c.Logging}
	var output capture.Output
	session.Stdout, session.Stderr = output.Writers(ctx, logging.Stdout(), logging.Stderr())
	err = runSession(ctx, client, session, command)
	output.Flush()
	if err != nil {
		return output.Error(err, command)
	}
	c.BaseOutputs = BaseOutputs{Stdout: output.Stdout(), Stderr: output.Stderr()}
	return nil
}

// runSession runs a command to its end. A cancellation ends the command at the host, and leaves it if it does not go.
func runSession(ctx context.Context, client *client, session *ssh.Session, command string) error {
	done := make(chan error, 1)
	go func() { done <- session.Run(command) }()
	select {
	case err := <-done:
		// The command ended well without reading all its standard input.
		if err == io.EOF {
			return nil
		}
		return err
	case <-ctx.Done():
	}
	// In the background and with limits, since the host may be gone.
	go func() { _ = session.Signal(ssh.SIGTERM) }()
	select {
	case <-done:
		return ctx.Err()
	case <-time.After(graceOnCancel):
	}
	go terminateAll(client)
	select {
	case <-done:
	case <-time.After(graceOnCancel):
	}
	return ctx.Err()
}

// terminateAll ends all that runs at the host through this connection. OpenSSH refuses signals for a root login, and without a
// terminal it ends nothing when a connection goes.
func terminateAll(client *client) {
	session, err := client.NewSession()
	if err != nil {
		return
	}
	defer session.Close()
	// Each command is the leader of a process group, and a child of the process that serves the connection.
	_ = session.Run(`exec /bin/sh -c '
for stat in /proc/[0-9]*/stat; do
  read -r line <"$stat" || continue
  pid=${line%% *}
  set -- ${line##*) }
  [ "$2" != "$PPID" ] || [ "$pid" = $$ ] || kill -s TERM -- "-$pid"
done' 2>/dev/null`)
}

func (c *CommandOutputs) setEnvironment(ctx context.Context, session *ssh.Session) error {
	for name, value := range c.Environment {
		if err := session.Setenv(name, value); err != nil {
			p.GetLogger(ctx).Error(refusedVariable(name))
			return fmt.Errorf("could not set environment variable %q: %w", name, err)
		}
	}
	if c.AddPreviousOutputInEnv != nil && !*c.AddPreviousOutputInEnv {
		return nil
	}
	for _, previous := range []struct{ name, value string }{{capture.StdoutVar, c.Stdout}, {capture.StderrVar, c.Stderr}} {
		if previous.value == "" {
			continue
		}
		// A convenience that most servers refuse; no reason to fail.
		if err := session.Setenv(previous.name, previous.value); err != nil {
			p.GetLogger(ctx).Warning(refusedVariable(previous.name))
		}
	}
	return nil
}

func refusedVariable(name string) string {
	return fmt.Sprintf("Unable to set '%s'. This only works if your SSH server is configured to accept these variables via AcceptEnv. "+
		"Alternatively, if a Bash-like shell runs the command on the remote host, you could prefix the command itself with the variables "+
		"in the form 'VAR=value command'", name)
}
