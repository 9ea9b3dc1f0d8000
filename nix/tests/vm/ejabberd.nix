# ejabberd has a configuration of one's own, and so the component is written there by hand.
{ module }:

{
  name = "unified-push-ejabberd";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [
        module
        ./secrets.nix
      ];
      environment.systemPackages = [ pkgs.python3 ];

      services.ejabberd = {
        enable = true;
        configFile = "/etc/ejabberd.yml";
      };
      environment.etc."ejabberd.yml" = {
        user = "ejabberd";
        mode = "0600";
        source = ./ejabberd.yml;
      };

      services.unified-push = {
        enable = true;
        component.secretFile = "/var/lib/secrets/component";
        settings.component.domain = "up.example.org";
        settings.backend = "storage";
      };
    };

  testScript = ''
    machine.wait_for_unit("unified-push.service")
    machine.wait_for_unit("ejabberd.service")
    machine.wait_for_open_port(5222)
    machine.succeed("su ejabberd -s $(which ejabberdctl) register juliet example.org password")
    relay = "python3 ${../relay.py}"

    with subtest("pushes reach a phone"):
        print(machine.succeed(relay))

    with subtest("nothing is lost"):
        print(machine.succeed(f"{relay} --during 'systemctl restart unified-push.service'"))
        print(machine.succeed(f"{relay} --during 'systemctl restart ejabberd.service'"))

    with subtest("the state is kept"):
        assert "juliet@example.org" in machine.succeed("unified-push registrations list")
  '';
}
