-- What unified-push needs of Prosody, and little else.
log = { { to = "console", levels = { min = "info" } } }
data_path = "/var/lib/prosody"
certificates = "certs"
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "smacks", "csi_simple", "dialback" }

-- Only the other services reach it: compose.yaml publishes no port of it.
component_ports = { 5347 }
component_interfaces = { "*" }

VirtualHost "example.org"
    ssl = { certificate = "certs/chat.pem", key = "certs/chat.key" }

Component "up.example.org"
    component_secret = os.getenv("COMPONENT_SECRET")
