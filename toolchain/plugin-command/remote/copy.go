package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// CopyToRemote is the resource command:remote:CopyToRemote.
type CopyToRemote struct{}

// Annotate describes the resource.
func (c *CopyToRemote) Annotate(a infer.Annotator) {
	a.Describe(&c, "Copy an Asset or Archive to a remote host.")
}

// CopyToRemoteInputs are the inputs of CopyToRemote.
type CopyToRemoteInputs struct {
	Connection *Connection          `pulumi:"connection" provider:"secret"`
	Triggers   *[]any               `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Source     types.AssetOrArchive `pulumi:"source"`
	RemotePath string               `pulumi:"remotePath"`
}

// Annotate describes the inputs.
func (c *CopyToRemoteInputs) Annotate(a infer.Annotator) {
	a.Describe(&c.Connection, "The parameters with which to connect to the remote host.")
	a.Describe(&c.Triggers, "Trigger replacements on changes to this input.")
	a.Describe(&c.Source, "The source of the copy: a `FileAsset`, `StringAsset` or `FileArchive`. It is copied as it is, directories with all below them.")
	a.Describe(&c.RemotePath, "The destination path on the remote host. Parent directories are created. If it is an existing directory, the source is "+
		"copied into it; an existing file is overwritten.")
}

func (c *CopyToRemoteInputs) hash() string {
	switch {
	case c.Source.Archive != nil:
		return c.Source.Archive.Hash
	case c.Source.Asset != nil:
		return c.Source.Asset.Hash
	}
	return ""
}

// CopyToRemoteOutputs is the state of CopyToRemote.
type CopyToRemoteOutputs struct{ CopyToRemoteInputs }

// Check refuses sources that cannot be copied.
func (CopyToRemote) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[CopyToRemoteInputs], error) {
	inputs, failures, err := infer.DefaultCheck[CopyToRemoteInputs](ctx, req.NewInputs)
	// A source that depends on something not yet made cannot be checked yet.
	if err == nil && !req.NewInputs.Get("source").HasComputed() {
		if reason := refuse(inputs.Source); reason != "" {
			failures = append(failures, p.CheckFailure{Property: "source", Reason: reason})
		}
	}
	return infer.CheckResponse[CopyToRemoteInputs]{Inputs: inputs, Failures: failures}, err
}

func refuse(source types.AssetOrArchive) string {
	asset, archive := source.Asset, source.Archive
	switch {
	case asset != nil && archive != nil:
		return "only one of asset or archive can be set"
	case asset == nil && archive == nil:
		return "either asset or archive must be set"
	case asset != nil && !asset.IsPath() && !asset.IsText():
		return "asset must be a path-based file asset or a text asset"
	case archive != nil && !archive.IsPath():
		return "archive must be a path to a file or directory"
	}
	return ""
}

// Create copies the source.
func (CopyToRemote) Create(
	ctx context.Context, req infer.CreateRequest[CopyToRemoteInputs],
) (infer.CreateResponse[CopyToRemoteOutputs], error) {
	resp := infer.CreateResponse[CopyToRemoteOutputs]{Output: CopyToRemoteOutputs{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	if err := req.Inputs.copy(ctx); err != nil {
		return resp, err
	}
	var err error
	resp.ID, err = resource.NewUniqueHex("", 8, 0)
	return resp, err
}

// Update copies the source again if it or its destination has changed.
func (CopyToRemote) Update(
	ctx context.Context, req infer.UpdateRequest[CopyToRemoteInputs, CopyToRemoteOutputs],
) (infer.UpdateResponse[CopyToRemoteOutputs], error) {
	resp := infer.UpdateResponse[CopyToRemoteOutputs]{Output: CopyToRemoteOutputs{req.Inputs}}
	if req.DryRun || req.Inputs.hash() == req.State.hash() && req.Inputs.RemotePath == req.State.RemotePath {
		return resp, nil
	}
	return resp, req.Inputs.copy(ctx)
}

func (c *CopyToRemoteInputs) copy(ctx context.Context) error {
	return withSFTP(ctx, c.Connection, func(remote *sftp.Client) error {
		switch {
		case c.Source.Asset != nil && c.Source.Asset.IsText():
			return copyText(remote, c.Source.Asset.Text, c.RemotePath)
		case c.Source.Asset != nil:
			return copyPath(remote, c.Source.Asset.Path, c.RemotePath)
		}
		return copyPath(remote, c.Source.Archive.Path, c.RemotePath)
	})
}

// CopyFile is the resource command:remote:CopyFile.
type CopyFile struct{}

// Annotate describes the resource.
func (c *CopyFile) Annotate(a infer.Annotator) {
	a.Describe(&c, "Copy a local file to a remote host.")
	a.Deprecate(&c, "This resource is deprecated and will be removed in a future release. Please use the `CopyToRemote` resource instead.")
}

// CopyFileInputs are the inputs of CopyFile.
type CopyFileInputs struct {
	Connection *Connection `pulumi:"connection" provider:"secret"`
	Triggers   *[]any      `pulumi:"triggers,optional"`
	LocalPath  string      `pulumi:"localPath"`
	RemotePath string      `pulumi:"remotePath"`
}

// Annotate describes the inputs.
func (c *CopyFileInputs) Annotate(a infer.Annotator) {
	a.Describe(&c.Connection, "The parameters with which to connect to the remote host.")
	a.Describe(&c.Triggers, "Trigger replacements on changes to this input.")
	a.Describe(&c.LocalPath, "The path of the file to be copied.")
	a.Describe(&c.RemotePath, "The destination path in the remote host.")
}

// CopyFileOutputs is the state of CopyFile.
type CopyFileOutputs struct{ CopyFileInputs }

// Create copies the file. There is no update: any change replaces.
func (CopyFile) Create(ctx context.Context, req infer.CreateRequest[CopyFileInputs]) (infer.CreateResponse[CopyFileOutputs], error) {
	resp := infer.CreateResponse[CopyFileOutputs]{Output: CopyFileOutputs{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	// Before the connection, so that a missing file fails at once.
	if _, err := os.Stat(req.Inputs.LocalPath); err != nil {
		return resp, err
	}
	err := withSFTP(ctx, req.Inputs.Connection, func(remote *sftp.Client) error {
		return copyFile(remote, req.Inputs.LocalPath, req.Inputs.RemotePath)
	})
	if err == nil {
		resp.ID, err = resource.NewUniqueHex("", 8, 0)
	}
	return resp, err
}

// withSFTP connects, does the work, and disconnects; a cancellation disconnects at once.
func withSFTP(ctx context.Context, connection *Connection, work func(*sftp.Client) error) error {
	client, err := connection.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	remote, err := sftp.NewClient(client.Client, sftp.UseConcurrentWrites(true))
	if err == nil {
		defer remote.Close()
		err = work(remote)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// stat returns nil if there is no such file.
func stat(remote *sftp.Client, name string) (fs.FileInfo, error) {
	info, err := remote.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to stat remote path %s: %w", name, err)
	}
	return info, nil
}

func makeDir(remote *sftp.Client, name string) error {
	info, err := stat(remote, name)
	if err != nil {
		return err
	}
	if info != nil && !info.IsDir() {
		return fmt.Errorf("remote path %s exists but is not a directory", name)
	}
	if info == nil {
		if err := remote.MkdirAll(name); err != nil {
			return fmt.Errorf("failed to create remote directory %s: %w", name, err)
		}
	}
	return nil
}

func write(remote *sftp.Client, name string, content io.Reader) error {
	file, err := remote.Create(name)
	if err != nil {
		return fmt.Errorf("failed to create remote file %s: %w", name, err)
	}
	_, err = file.ReadFrom(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("failed to write to remote path %s: %w", name, err)
	}
	return nil
}

func copyFile(remote *sftp.Client, source, destination string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	return write(remote, destination, file)
}

func copyText(remote *sftp.Client, text, destination string) error {
	info, err := stat(remote, destination)
	if err != nil {
		return err
	}
	if info != nil && info.IsDir() {
		return fmt.Errorf("remote path %s is a directory; when using a text asset, remotePath must be a file path", destination)
	}
	if err := makeDir(remote, path.Dir(destination)); err != nil {
		return err
	}
	return write(remote, destination, strings.NewReader(text))
}

// copyPath copies a file or a directory:
//
//	source | destination is a directory | does not exist | is a file
//	dir    | destination/dir            | the same       | error
//	dir/   | destination/*              | the same       | error
//	file   | destination/file           | destination    | overwritten
func copyPath(remote *sftp.Client, source, destination string) error {
	sourceInfo, err := os.Stat(source)
	if err != nil {
		return err
	}
	info, err := stat(remote, destination)
	if err != nil {
		return err
	}
	if sourceInfo.IsDir() {
		if err := makeDir(remote, destination); err != nil {
			return err
		}
		if !strings.HasSuffix(source, "/") {
			destination = path.Join(destination, filepath.Base(source))
		}
		return copyDir(remote, source, destination)
	}
	if info != nil && info.IsDir() {
		destination = path.Join(destination, filepath.Base(source))
	} else if err := makeDir(remote, path.Dir(destination)); err != nil {
		return err
	}
	return copyFile(remote, source, destination)
}

func copyDir(remote *sftp.Client, source, destination string) error {
	return fs.WalkDir(os.DirFS(source), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := path.Join(destination, name)
		if entry.IsDir() {
			return makeDir(remote, target)
		}
		return copyFile(remote, filepath.Join(source, name), target)
	})
}
