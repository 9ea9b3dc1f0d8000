-- A Prosody without accounts: it carries the component and speaks with other XMPP servers, nothing else.
-- docs/federating.md says what it needs.
modules_enabled = { "tls", "saslauth", "dialback" }
certificates = "/run/secrets/prosody"
c2s_ports = {}
-- Only servers whose certificate proves their name.
s2s_secure_auth = true

component_ports = { tonumber(ENV_COMPONENT_PORT) }
component_interfaces = { "*" }

-- Prosody insists on a host. Nobody can log in to this one.
VirtualHost "localhost"

Component (ENV_COMPONENT_DOMAIN)
    component_secret = ENV_COMPONENT_SECRET
