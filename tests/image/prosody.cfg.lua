-- For a test: any name and password logs in. The environment says where things are.
local dir, address = os.getenv("BED"), os.getenv("ADDRESS")
run_as_root = true
data_path = dir
log = { { to = "file", filename = dir .. "/prosody.log", levels = { min = "info" } } }
modules_enabled = { "roster", "saslauth", "disco", "ping" }
modules_disabled = { "s2s", "tls", "offline" }
c2s_ports = { tonumber(os.getenv("CLIENTS")) }
c2s_interfaces = { "127.0.0.1" }
component_ports = { 5347 }
component_interfaces = { address }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"

VirtualHost "example.org"

Component "up.example.org"
    component_secret = os.getenv("SECRET")
