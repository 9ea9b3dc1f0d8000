-- A minimal Prosody that has what unified-push needs.
log = { { to = "console", levels = { min = "info" } } }
data_path = "/var/lib/prosody"
certificates = "certs"
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "smacks", "csi_simple", "dialback" }

-- Only the other services can reach this port: compose.yaml does not publish it.
component_ports = { 5347 }
component_interfaces = { "*" }

VirtualHost "example.org"
    ssl = { certificate = "certs/chat.pem", key = "certs/chat.key" }

Component "up.example.org"
    component_secret = os.getenv("COMPONENT_SECRET")
