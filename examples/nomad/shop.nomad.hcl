# A prestart task that must complete before the main task is started. Nomad 1.0 and newer.
job "shop" {
  group "shop" {
    network {
      mode = "bridge"
    }

    task "gatekeeper" {
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }
      driver = "docker"
      config {
        image = "registry.example.com/gatekeeper:0.1.0"
        args  = ["wait", "--timeout=5m", "db=dns://postgres.service.consul type=SRV", "prices=http://prices.service.consul:8080/healthz"]
      }
      resources {
        cpu    = 50
        memory = 64
      }
    }

    task "shop" {
      driver = "docker"
      config {
        image = "registry.example.com/shop:1.0.0"
      }
    }
  }
}
