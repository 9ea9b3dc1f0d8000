//! What stands at the end of `--help`. A test runs each of them.

pub const PROGRAM: &str = "\
Examples:
  unified-push check-config
  unified-push serve
  unified-push doctor";

pub const SERVE: &str = "\
Examples:
  unified-push serve
  unified-push serve --config /etc/unified-push/config.toml";

pub const CHECK_CONFIG: &str = "\
Examples:
  unified-push check-config
  unified-push check-config --print
  unified-push check-config --print=json >config.json";

pub const DOCTOR: &str = "\
Run it as root or as the daemon's user. The exit code is 1 if something is wrong, and 78 if the
configuration cannot be used.

Examples:
  unified-push doctor
  unified-push doctor --print json >findings.json";

pub const HEALTHCHECK: &str = "\
Examples:
  unified-push healthcheck";

pub const GEN_SECRET: &str = "\
Examples:
  unified-push gen-secret
  unified-push gen-secret >/etc/unified-push/component-secret";

pub const MANUAL: &str = "\
Examples:
  unified-push manual ~/.local/share";

pub const DEMO: &str = "\
Examples:
  unified-push demo";

pub const SEND: &str = "\
Examples:
  unified-push send https://up.example.org/push/v4.local.AbC... 'Hello'
  unified-push send --subscription subscription.json --vapid-key private.pem 'Hello'
  unified-push send --ttl 0 --urgency high https://up.example.org/push/v4.local.AbC... <message

subscription.json is what the app hands to its server:
  {\"endpoint\": \"https://...\", \"keys\": {\"p256dh\": \"...\", \"auth\": \"...\"}}";

pub const INSPECT: &str = "\
Examples:
  unified-push inspect https://up.example.org/push/v4.local.AbC...
  unified-push inspect - <endpoint.txt";

pub const QUEUE: &str = "\
Examples:
  unified-push queue list
  unified-push queue drop juliet@example.org";

pub const QUEUE_LIST: &str = "\
Examples:
  unified-push queue list";

pub const QUEUE_DROP: &str = "\
Examples:
  unified-push queue drop juliet@example.org";

pub const REGISTRATIONS: &str = "\
Examples:
  unified-push registrations list
  unified-push registrations test juliet@example.org";

pub const REGISTRATIONS_LIST: &str = "\
Examples:
  unified-push registrations list";

pub const REGISTRATIONS_TEST: &str = "\
Examples:
  unified-push registrations test juliet@example.org";

pub const REGISTRATIONS_REVOKE: &str = "\
Examples:
  unified-push registrations revoke juliet@example.org";

pub const REGISTRATIONS_FORGET_KEY: &str = "\
Examples:
  unified-push registrations forget-key Rm8xcUw3b0Y";
