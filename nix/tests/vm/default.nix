{
  prosody = ./prosody.nix;
  ejabberd = ./ejabberd.nix;
  postgresql = ./postgresql.nix;
}
