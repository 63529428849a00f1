"""The sandbox: a face whose platform is this installation and whose audience is simulated."""
