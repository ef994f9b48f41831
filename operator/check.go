package operator

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-session/caddy-session/internal/finding"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [--config <path>] [--adapter <name>] [--json]",
		Short: "Looks for mistakes in a configuration",
		Long: `
Looks for mistakes around sessions in a configuration, which it does not start,
and says of each what to do. Caddy warns about the same when it starts. A Redis
server that the configuration names is asked whether it is fit for sessions.

It reads the Caddyfile in the current directory unless there is a --config.

Exit status: 0 if nothing is found, 6 if something is, 1 if the configuration
would not start.`,
		Args: cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
			config, _, _, err := caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
			if err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
			if len(config) == 0 {
				return caddy.ExitCodeFailedStartup, errors.New("there is no Caddyfile in this directory: use --config")
			}
			found, err := sessionapp.Check(config)
			c := &client{json: flags.Bool("json"), out: os.Stdout}
			for _, f := range found {
				if err := c.finding(f); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
			}
			switch {
			case err != nil: // the configuration, which logs nothing, has Caddy's log by now
				fmt.Fprintln(os.Stderr, "this configuration will not start:", err)
				return caddy.ExitCodeFailedStartup, err
			case len(found) > 0:
				return exitFindings, errFound
			}
			if !c.json {
				fmt.Fprintln(c.out, "Nothing found")
			}
			return caddy.ExitCodeSuccess, nil
		}),
	}
}

// errFound makes the exit status; what is found has been printed.
var errFound = errors.New("the configuration has mistakes")

// checkedFinding is what check prints of a finding with --json.
type checkedFinding struct {
	Problem string            `json:"problem"`
	Remedy  string            `json:"remedy"`
	Where   map[string]string `json:"where,omitempty"`
}

// finding prints a finding: the place, the problem and the remedy.
func (c *client) finding(f finding.Finding) error {
	where := zapcore.NewMapObjectEncoder()
	for _, field := range f.Where {
		field.AddTo(where)
	}
	if c.json {
		all := map[string]string{}
		for name, value := range where.Fields {
			all[name] = fmt.Sprint(value)
		}
		return c.print(checkedFinding{f.Problem, f.Remedy, all})
	}
	if at, ok := where.Fields["at"]; ok {
		fmt.Fprintf(c.out, "%s: ", printable(fmt.Sprint(at)))
	}
	fmt.Fprintf(c.out, "%s\n", f.Problem)
	for _, field := range f.Where {
		if value := fmt.Sprint(where.Fields[field.Key]); field.Key != "at" && field.Key != "server" && value != "" {
			fmt.Fprintf(c.out, "    %s: %s\n", field.Key, printable(value))
		}
	}
	_, err := io.WriteString(c.out, "    do: "+f.Remedy+"\n\n")
	return err
}
