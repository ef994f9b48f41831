package operator

import (
	"errors"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-session/caddy-session/session"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "session",
		Usage: "list|show|end|end-user|stats|check|schema|version",
		Short: "Shows and ends the sessions of a running Caddy, and checks configurations",
		Long: `
Shows who has a session at a running Caddy, and ends sessions.

It talks to the admin API, which has to be on. Its address is taken from
--address, or from the configuration file given by --config, or is the default.

What is shown of a session is what the operator needs: its id, which is no
secret, the user, times, and the cookie's name, host and path; the client, if
the site says "record client"; and the label, if it says "session_label". Neither data nor cookies are ever shown.

A session ends at once: the next request with its cookie is anonymous, and its
WebSockets and event streams are closed, on all machines that share the store.

With --json, every answer is one JSON object on a line, as the admin API gives
it; of a list, every session. It is ASCII: names and clients are what visitors
send, and could upset a terminal. Let other programs keep it so.

Exit status: 0 if it is done, 1 if it failed, 4 if there is no such session, 5 if
the store does not answer "stats", 6 if "check" has found something.

Examples:

    caddy session list --user alice
    caddy session end-user alice --realm app.example.com
    caddy session list --json --limit 0 | jq --ascii-output .subject | sort | uniq -c
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.PersistentFlags().StringP("config", "c", "", "Configuration file to use to parse the admin address, if --address is not used")
			cmd.PersistentFlags().StringP("adapter", "a", "", "Name of config adapter to apply (when --config is used)")
			cmd.PersistentFlags().StringP("address", "", "", "The address to use to reach the admin API endpoint, if not the default")
			cmd.PersistentFlags().BoolP("json", "", false, "Print JSON instead of tables")
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf("unknown command %q: there are list, show, end, end-user, stats, check, schema and version", args[0])
				}
				return cmd.Help()
			}
			for _, sub := range []*cobra.Command{listCommand(), showCommand(), endCommand(), endUserCommand(), statsCommand(), checkCommand(), schemaCommand(), versionCommand()} {
				sub.DisableFlagsInUseLine = true
				cmd.AddCommand(sub)
			}
		},
	})
}

// Exit statuses. Caddy uses 1 to 3.
const (
	exitNotFound  = 4 // there is no such session
	exitStoreDown = 5 // what stats says of a store that does not answer
	exitFindings  = 6 // check has found something
)

// run makes f the function of a command.
func run(f func(c *client, flags caddycmd.Flags, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
			address, err := caddycmd.DetermineAdminAPIAddress(flags.String("address"), nil, flags.String("config"), flags.String("adapter"))
			if err != nil {
				return caddy.ExitCodeFailedStartup, fmt.Errorf("finding the admin API: %w", err)
			}
			c := &client{address: address, json: flags.Bool("json"), out: os.Stdout, err: os.Stderr}
			switch err := f(c, flags, args); {
			case errors.Is(err, errNoSuchSession):
				return exitNotFound, err
			case errors.Is(err, errStoreDown):
				return exitStoreDown, err
			case err != nil:
				return caddy.ExitCodeFailedStartup, err
			}
			return caddy.ExitCodeSuccess, nil
		})(cmd, args)
	}
}

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [--user <user>] [--realm <realm>] [--host <host>] [--label <text>] [--limit <number>] [--json]",
		Short: "Lists sessions",
		Long: `
Lists sessions, all or those that every flag is about, in no particular order.

With both --user and --realm, the sessions are found by an index. Otherwise all
sessions are looked at, a page at a time, which takes a while if there are many.

--user
    Sessions of this user only.

--realm
    Sessions of users of this realm only. A realm is what the setting realm
    says, else the cookie's domain, else the host. The list shows it.

--host
    Sessions of this host only, or of the cookie's domain where it has one.

--label
    Sessions with this text in their label only, in upper or lower case. A label
    is what the site says by session_label. It may be of the visitor's making, so
    it does not tell who somebody is.

--limit
    How many to list at most. 0 is no limit. The default is 1000.`,
		Args: cobra.NoArgs,
		RunE: run(listSessions),
	}
	cmd.Flags().StringP("user", "", "", "Only the sessions of this user")
	cmd.Flags().StringP("realm", "", "", "Only the sessions of users of this realm")
	cmd.Flags().StringP("host", "", "", "Only the sessions of this host")
	cmd.Flags().StringP("label", "", "", "Only the sessions with this text in their label")
	cmd.Flags().IntP("limit", "", 1000, "How many to list at most; 0 is no limit")
	return cmd
}

func showCommand() *cobra.Command {
	return withIDs(&cobra.Command{
		Use:   "show <id> [--json]",
		Short: "Shows one session",
		Long: `
Shows what is known of one session: the user, times, the cookie's name, host and
path, the size, the label, and the client if the site says "record client".

The time when it was last seen is known to within the setting touch, if all
sites have the same idle limit; that of one that stays signed in, in any case.`,
		RunE: run(showSession),
	})
}

func endCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "end <id>... | --all [--json]",
		Short: "Ends sessions by their ids, or all",
		Long: `
Ends sessions by their ids. If some of them are no more, the others are ended,
and the exit status is 4.

--all
    Ends all sessions of the store, on all sites. Everybody has to sign in
    again. With many sessions, the progress is told.`,
		RunE: run(endSessions),
	}
	cmd.Flags().BoolP("all", "", false, "End all sessions of the store, on all sites")
	return withIDs(cmd)
}

// withIDs makes a command take ids that begin with a hyphen, which one in 64
// does, without mistaking them for flags.
func withIDs(cmd *cobra.Command) *cobra.Command {
	runE := cmd.RunE
	cmd.DisableFlagParsing = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var ids, others []string
		for _, arg := range args {
			if session.ValidID(arg) {
				ids = append(ids, arg)
			} else {
				others = append(others, arg)
			}
		}
		cmd.DisableFlagParsing = false
		if err := cmd.ParseFlags(others); err != nil {
			return err
		}
		if help, err := cmd.Flags().GetBool("help"); err == nil && help {
			return cmd.Help()
		}
		return runE(cmd, append(ids, cmd.Flags().Args()...))
	}
	return cmd
}

func endUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "end-user <user> [--realm <realm>] [--except <id>] [--json]",
		Short: "Ends all sessions of a user",
		Long: `
Ends all sessions of a user: signs the user out everywhere.

--realm
    In this realm only. Without it, all sessions are looked at, which takes a
    while if there are many.

--except
    Do not end the session with this id.`,
		Args: cobra.ExactArgs(1),
		RunE: run(endUser),
	}
	cmd.Flags().StringP("realm", "", "", "In this realm only")
	cmd.Flags().StringP("except", "", "", "Do not end the session with this id")
	return cmd
}

func statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [--json]",
		Short: "Shows how the store is doing and what has happened since Caddy started",
		Args:  cobra.NoArgs,
		RunE:  run(showStats),
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version [--json]",
		Short: "Prints the version of the session plugin in this program",
		Args:  cobra.NoArgs,
		RunE:  run(showVersion),
	}
}
