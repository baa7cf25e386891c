use clap::{Parser, Subcommand};

/// The command line and environment as they were given, not yet looked at.
///
/// Every value is text, so that [`Options`](crate::Options) can report all that is wrong at once:
/// clap would stop at the first. An empty value, of a flag or of its variable, counts as not
/// given: templates that have nothing to say write `NETTING_SKIP_INBOUND_PORTS=""`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "netting-iptables-init",
    version,
    about = "Redirects the pod's TCP connections to its Netting sidecar",
    long_about = "Redirects the pod's TCP connections to its Netting sidecar.\n\n\
        Without a subcommand the rules are applied to the network namespace this process runs \
        in, which needs CAP_NET_ADMIN (and CAP_NET_RAW for legacy iptables), and then verified. \
        Applying again replaces what was applied before.",
    after_help = "Exit codes: 0 done, 1 failed (the last lines say why and what to do), \
        2 the options are wrong."
)]
pub struct Args {
    /// Port on which the sidecar takes the pod's outbound connections
    #[arg(
        long,
        env = "NETTING_OUTBOUND_PORT",
        value_name = "PORT",
        default_value = "15001",
        hide_env_values = true,
        allow_negative_numbers = true,
        global = true
    )]
    pub outbound_port: String,

    /// Port on which the sidecar takes the pod's inbound connections
    #[arg(
        long,
        env = "NETTING_INBOUND_PORT",
        value_name = "PORT",
        default_value = "15006",
        hide_env_values = true,
        allow_negative_numbers = true,
        global = true
    )]
    pub inbound_port: String,

    /// Port of the sidecar's own probes and metrics; connections to it are left alone
    #[arg(
        long,
        env = "NETTING_ADMIN_PORT",
        value_name = "PORT",
        default_value = "15020",
        hide_env_values = true,
        allow_negative_numbers = true,
        global = true
    )]
    pub admin_port: String,

    /// User id of the sidecar; connections it makes are left alone
    #[arg(
        long,
        env = "NETTING_PROXY_UID",
        value_name = "UID",
        default_value = "4150",
        hide_env_values = true,
        allow_negative_numbers = true,
        global = true
    )]
    pub proxy_uid: String,

    /// Ports of the pod that take connections directly, such as 80,8000-8010
    #[arg(
        long,
        env = "NETTING_SKIP_INBOUND_PORTS",
        value_name = "PORTS",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true,
        global = true
    )]
    pub skip_inbound_ports: String,

    /// Ports elsewhere that are connected to directly, such as 3306,9000-9010
    #[arg(
        long,
        env = "NETTING_SKIP_OUTBOUND_PORTS",
        value_name = "PORTS",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true,
        global = true
    )]
    pub skip_outbound_ports: String,

    /// Clients whose connections are taken directly, such as 10.1.0.0/16,fd00:1::/64
    #[arg(
        long,
        env = "NETTING_SKIP_INBOUND_CIDRS",
        value_name = "CIDRS",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true,
        global = true
    )]
    pub skip_inbound_cidrs: String,

    /// Destinations that are connected to directly, such as 169.254.169.254/32
    #[arg(
        long,
        env = "NETTING_SKIP_OUTBOUND_CIDRS",
        value_name = "CIDRS",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true,
        global = true
    )]
    pub skip_outbound_cidrs: String,

    /// Which iptables to use: auto (whichever works), nft or legacy
    #[arg(
        long,
        env = "NETTING_BACKEND",
        value_name = "BACKEND",
        default_value = "auto",
        hide_env_values = true,
        global = true
    )]
    pub backend: String,

    /// Print what would be done and change nothing; needs no privileges
    #[arg(
        long,
        env = "NETTING_DRY_RUN",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        hide_env_values = true,
        hide_default_value = true
    )]
    pub dry_run: String,

    /// Take Netting's rules out again and leave everybody else's as they are
    #[arg(
        long,
        env = "NETTING_CLEANUP",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        hide_env_values = true,
        hide_default_value = true
    )]
    pub cleanup: String,

    /// Don't prove with a connection that the rules work after applying them
    #[arg(
        long,
        env = "NETTING_NO_VERIFY",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        hide_env_values = true,
        hide_default_value = true
    )]
    pub no_verify: String,

    /// What to do instead of applying the rules
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done besides applying the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Prove with a connection that outbound redirection works; changes nothing, needs no
    /// privileges
    Verify,
}
