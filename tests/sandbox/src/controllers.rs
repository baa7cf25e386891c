//! The controllers of the box, as clients of its API.

/// A client for each controller.
pub struct Clients {}

impl Clients {
    /// Connects each controller with the kubeconfig that `config` returns for its name.
    ///
    /// # Errors
    /// If a kubeconfig can't be used.
    pub async fn connect(config: impl Fn(&str) -> String) -> anyhow::Result<Self> {
        let _ = config;
        Ok(Self {})
    }
}

/// Runs the controllers.
pub async fn run(clients: Clients) {
    let _ = clients;
}
