package operator

import (
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-session/caddy-session/sessionapp"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [--config <path>] [--adapter <name>] [--json]",
		Short: "Prints what makes the tables of the store, for their owner to run",
		Long: `
Prints the statements that make the tables of the store in PostgreSQL, with the
rights that are enough for the user whom Caddy connects as. It connects to
nothing, and prints no password.

Caddy makes the tables itself if its user may. Otherwise their owner does:

    caddy session schema | psql --set ON_ERROR_STOP=1 sessions

The names are those of the Caddyfile in the current directory, or of --config;
without either, the default ones. A store that needs nothing to be made says so.`,
		Args: cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
			config, _, _, err := caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
			if err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
			all, err := sessionapp.Schemas(config)
			if err != nil {
				return caddy.ExitCodeFailedStartup, err
			}
			c := &client{json: flags.Bool("json"), out: os.Stdout, err: os.Stderr}
			for _, of := range all {
				if err := c.schema(of); err != nil {
					return caddy.ExitCodeFailedStartup, err
				}
			}
			return caddy.ExitCodeSuccess, nil
		}),
	}
}

// schema prints what makes the tables of a store. That there is nothing to be made is
// not for whoever runs the output.
func (c *client) schema(of sessionapp.StoreSchema) error {
	switch {
	case c.json:
		return c.print(of)
	case of.Schema == "":
		_, err := fmt.Fprintf(c.err, "The store %s needs nothing to be made\n", of.Store)
		return err
	}
	_, err := io.WriteString(c.out, of.Schema)
	return err
}
