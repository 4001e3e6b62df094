// Package remote runs commands on other machines, and copies files to them, over SSH.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/retry"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	agentSocketVar        = "SSH_AUTH_SOCK"
	defaultDialErrorLimit = 10
	defaultPerDialTimeout = 15
	unlimited             = -1
)

type endpoint struct {
	User               *string  `pulumi:"user,optional"`
	Password           *string  `pulumi:"password,optional" provider:"secret"`
	Host               *string  `pulumi:"host"`
	Port               *float64 `pulumi:"port,optional"`
	PrivateKey         *string  `pulumi:"privateKey,optional" provider:"secret"`
	PrivateKeyPassword *string  `pulumi:"privateKeyPassword,optional" provider:"secret"`
	AgentSocketPath    *string  `pulumi:"agentSocketPath,optional"`
	DialErrorLimit     *int     `pulumi:"dialErrorLimit,optional"`
	PerDialTimeout     *int     `pulumi:"perDialTimeout,optional"`
	HostKey            *string  `pulumi:"hostKey,optional"`
}

func (e *endpoint) annotate(a infer.Annotator) {
	a.Describe(&e.User, "The user that we should use for the connection.")
	a.SetDefault(&e.User, "root")
	a.Describe(&e.Password, "The password we should use for the connection.")
	a.Describe(&e.Host, "The address of the resource to connect to.")
	a.Describe(&e.Port, "The port to connect to. Defaults to 22.")
	a.SetDefault(&e.Port, 22)
	a.Describe(&e.PrivateKey, "The contents of an SSH key to use for the connection. This takes preference over the password if provided.")
	a.Describe(&e.PrivateKeyPassword, "The password to use in case the private key is encrypted.")
	a.Describe(&e.AgentSocketPath, "SSH Agent socket path. Default to environment variable SSH_AUTH_SOCK if present.")
	a.Describe(&e.DialErrorLimit, "Max allowed errors on trying to dial the remote host. -1 set count to unlimited. Default value is 10.")
	a.SetDefault(&e.DialErrorLimit, defaultDialErrorLimit)
	a.Describe(&e.PerDialTimeout, "Max number of seconds for each dial attempt. 0 implies no maximum. Default value is 15 seconds.")
	a.SetDefault(&e.PerDialTimeout, defaultPerDialTimeout)
	a.Describe(&e.HostKey, "The expected host key to verify the server's identity. If not provided, the host key will be ignored.")
}

// Connection tells how to reach a host.
type Connection struct {
	endpoint
	Proxy *ProxyConnection `pulumi:"proxy,optional"`
}

// Annotate describes the connection.
func (c *Connection) Annotate(a infer.Annotator) {
	a.Describe(&c, "Instructions for how to connect to a remote endpoint.")
	c.annotate(a)
	a.Describe(&c.Proxy, "The connection settings for the bastion/proxy host.")
}

// ProxyConnection tells how to reach a host that stands before another one.
type ProxyConnection struct{ endpoint }

// Annotate describes the connection.
func (c *ProxyConnection) Annotate(a infer.Annotator) {
	a.Describe(&c, "Instructions for how to connect to a remote endpoint via a bastion host.")
	c.annotate(a)
}

func (e *endpoint) address() string {
	port := 22
	if e.Port != nil {
		port = int(*e.Port)
	}
	return net.JoinHostPort(*e.Host, strconv.Itoa(port))
}

func (e *endpoint) dialErrorLimit() int {
	if e.DialErrorLimit == nil {
		return defaultDialErrorLimit
	}
	return *e.DialErrorLimit
}

func (e *endpoint) perDialTimeout() time.Duration {
	if e.PerDialTimeout == nil {
		return defaultPerDialTimeout * time.Second
	}
	return time.Duration(*e.PerDialTimeout) * time.Second
}

// config returns the SSH configuration, and what to close when the handshakes are over.
func (e *endpoint) config() (*ssh.ClientConfig, io.Closer, error) {
	config := &ssh.ClientConfig{
		User:            "root",
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		Timeout:         e.perDialTimeout(),
	}
	if e.User != nil {
		config.User = *e.User
	}
	if e.HostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.HostKey))
		if err != nil {
			return nil, nil, fmt.Errorf("failed to parse host key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
		config.HostKeyAlgorithms = []string{key.Type()}
		if key.Type() == ssh.KeyAlgoRSA {
			// An RSA key signs with any of these; servers of today refuse the oldest.
			config.HostKeyAlgorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
		}
	}
	if e.PrivateKey != nil {
		signer, err := e.signer()
		if err != nil {
			return nil, nil, err
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if e.Password != nil {
		config.Auth = append(config.Auth, ssh.Password(*e.Password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = *e.Password
				}
				return answers, nil
			}))
	}
	socket := os.Getenv(agentSocketVar)
	if e.AgentSocketPath != nil {
		socket = *e.AgentSocketPath
	}
	if socket == "" {
		return config, closers{}, nil
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, nil, err
	}
	config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	return config, conn, nil
}

func (e *endpoint) signer() (ssh.Signer, error) {
	if e.PrivateKeyPassword != nil {
		return ssh.ParsePrivateKeyWithPassphrase([]byte(*e.PrivateKey), []byte(*e.PrivateKeyPassword))
	}
	return ssh.ParsePrivateKey([]byte(*e.PrivateKey))
}

// closers closes each of its members, last first.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}

// client is an SSH client that closes the connection it runs through, too.
type client struct {
	*ssh.Client
	through io.Closer
}

func (c *client) Close() error {
	return errors.Join(c.Client.Close(), c.through.Close())
}

// dial connects to the host, by way of the proxy if there is one.
func (c *Connection) dial(ctx context.Context) (*client, error) {
	config, keys, err := c.config()
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	if c.Proxy == nil {
		return withRetry(ctx, "Dial", c.dialErrorLimit(), func() (*client, error) {
			return dialWith(ctx, new(net.Dialer).DialContext, c.address(), config, closers{})
		})
	}

	proxyConfig, proxyKeys, err := c.Proxy.config()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	defer proxyKeys.Close()
	proxy, err := withRetry(ctx, "Dial proxy", c.Proxy.dialErrorLimit(), func() (*client, error) {
		return dialWith(ctx, new(net.Dialer).DialContext, c.Proxy.address(), proxyConfig, closers{})
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	target, err := withRetry(ctx, "Dial from proxy", c.dialErrorLimit(), func() (*client, error) {
		return dialWith(ctx, proxy.DialContext, c.address(), config, proxy)
	})
	if err != nil {
		_ = proxy.Close()
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return target, nil
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialWith makes one attempt. The time limit covers the SSH handshake too: a host may accept a connection and never answer.
func dialWith(ctx context.Context, dial dialFunc, address string, config *ssh.ClientConfig, through io.Closer) (*client, error) {
	if config.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, config.Timeout)
		defer cancel()
		ctx = limited
	}
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// A channel through a proxy knows no deadlines; closing works for both.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if !stop() {
		_ = conn.Close()
		return nil, fmt.Errorf("ssh: no handshake with %s: %w", address, ctx.Err())
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &client{ssh.NewClient(sshConn, channels, requests), through}, nil
}

// withRetry repeats an attempt, ever more slowly, until it succeeds or has failed more often than limit.
func withRetry(ctx context.Context, what string, limit int, attempt func() (*client, error)) (*client, error) {
	ok, result, err := retry.Until(ctx, retry.Acceptor{
		Accept: func(try int, _ time.Duration) (bool, any, error) {
			connected, err := attempt()
			if err == nil {
				return true, connected, nil
			}
			if ctx.Err() != nil {
				return true, nil, ctx.Err()
			}
			tries := try + 1
			if limit > unlimited && tries > limit {
				return true, nil, fmt.Errorf("after %d failed attempts: %w", try, err)
			}
			of := "inf"
			if limit != unlimited {
				of = strconv.Itoa(limit)
			}
			p.GetLogger(ctx).InfoStatusf("%s %d/%s failed: retrying", what, tries, of)
			return false, nil, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ctx.Err()
	}
	return result.(*client), nil
}
