// Package local runs commands on the machine of the engine.
package local

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

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

// BaseInputs are the inputs that the resource and the function have in common.
type BaseInputs struct {
	Stdin                  *string           `pulumi:"stdin,optional"`
	Logging                *Logging          `pulumi:"logging,optional"`
	Interpreter            *[]string         `pulumi:"interpreter,optional"`
	Dir                    *string           `pulumi:"dir,optional"`
	Environment            map[string]string `pulumi:"environment,optional"`
	AssetPaths             *[]string         `pulumi:"assetPaths,optional"`
	ArchivePaths           *[]string         `pulumi:"archivePaths,optional"`
	AddPreviousOutputInEnv *bool             `pulumi:"addPreviousOutputInEnv,optional"`
}

// Annotate describes the inputs.
func (b *BaseInputs) Annotate(a infer.Annotator) {
	a.Describe(&b.Stdin, "Pass a string to the command's process as standard in")
	a.Describe(&b.Logging, "If the command's stdout and stderr should be logged. This doesn't affect their capture as outputs. Defaults to both.")
	a.Describe(&b.Interpreter, "The program and arguments to run the command, `[\"/bin/sh\", \"-c\"]` by default.")
	a.Describe(&b.Dir, "The directory from which to run the command from. If `dir` does not exist, then `Command` will fail.")
	a.Describe(&b.Environment, "Additional environment variables available to the command's process.")
	a.Describe(&b.AssetPaths, "A list of path globs to read after the command completes; patterns that start with `!` exclude.")
	a.Describe(&b.ArchivePaths, "A list of path globs to return as a single archive asset after the command completes.")
	a.Describe(&b.AddPreviousOutputInEnv, "If the previous stdout and stderr are put in the environment of the next run, as PULUMI_COMMAND_STDOUT and "+
		"PULUMI_COMMAND_STDERR. Defaults to true.")
}

// BaseOutputs are the outputs that the resource and the function have in common.
type BaseOutputs struct {
	Stdout  string                           `pulumi:"stdout"`
	Stderr  string                           `pulumi:"stderr"`
	Assets  *map[string]types.AssetOrArchive `pulumi:"assets,optional"`
	Archive *resource.Archive                `pulumi:"archive,optional"`
}

// Annotate describes the outputs.
func (b *BaseOutputs) Annotate(a infer.Annotator) {
	a.Describe(&b.Stdout, "The standard output of the command's process")
	a.Describe(&b.Stderr, "The standard error of the command's process")
	a.Describe(&b.Assets, "A map of assets found after running the command. The key is the relative path from the command dir")
	a.Describe(&b.Archive, "An archive asset containing files found after running the command.")
}

// Command is the resource command:local:Command.
type Command struct{}

// Annotate describes the resource.
func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "A local command to be executed.")
}

// CommandInputs are the inputs of Command.
type CommandInputs struct {
	BaseInputs
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create   *string `pulumi:"create,optional"`
	Update   *string `pulumi:"update,optional"`
	Delete   *string `pulumi:"delete,optional"`
}

// Annotate describes the inputs.
func (c *CommandInputs) Annotate(a infer.Annotator) {
	a.Describe(&c.Triggers, "The resource is replaced if any of these values change. They can be of any type.")
	a.Describe(&c.Create, "The command to run on creation, and on update if there is no `update`.")
	a.Describe(&c.Update, "The command to run on update. If empty, `create` is run.")
	a.Describe(&c.Delete, "The command to run on deletion.")
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
		err = run(ctx, *req.Inputs.Create, req.Inputs.BaseInputs, &state.BaseOutputs)
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
		err = run(ctx, *command, req.Inputs.BaseInputs, &state.BaseOutputs)
	}
	return infer.UpdateResponse[CommandOutputs]{Output: state}, err
}

// Delete runs `delete`, if there is one, with the inputs of the last create or update.
func (Command) Delete(ctx context.Context, req infer.DeleteRequest[CommandOutputs]) (infer.DeleteResponse, error) {
	if req.State.Delete == nil {
		return infer.DeleteResponse{}, nil
	}
	return infer.DeleteResponse{}, run(ctx, *req.State.Delete, req.State.BaseInputs, &req.State.BaseOutputs)
}

// Run is the function command:local:run.
type Run struct{}

// Annotate describes the function.
func (r *Run) Annotate(a infer.Annotator) {
	a.Describe(&r, "A local command to be executed unconditionally, on any preview or deployment.")
}

// RunInputs are the arguments of Run.
type RunInputs struct {
	BaseInputs
	Command string `pulumi:"command"`
}

// Annotate describes the arguments.
func (r *RunInputs) Annotate(a infer.Annotator) {
	a.Describe(&r.Command, "The command to run.")
}

// RunOutputs is the result of Run.
type RunOutputs struct {
	RunInputs
	BaseOutputs
}

// Invoke runs the command, in a preview too.
func (Run) Invoke(ctx context.Context, req infer.FunctionRequest[RunInputs]) (infer.FunctionResponse[RunOutputs], error) {
	out := RunOutputs{RunInputs: req.Input}
	err := run(ctx, req.Input.Command, req.Input.BaseInputs, &out.BaseOutputs)
	return infer.FunctionResponse[RunOutputs]{Output: out}, err
}
