//! A certificate that is given as files, and read again when they change.
//!
//! They are looked at rather than watched: the kubelet swaps a directory's `..data`
//! link for a new one, others write in place, and looking sees both.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{
    CaPem, CertificateError, Named, ServingCertificate,
    serving::{Anchors, Offer, Origin, Server},
};

/// A look costs three small reads. Kubelets bring a changed Secret within a minute.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CAs that the API server is to trust; without, that is somebody else's
    /// business.
    pub ca: Option<PathBuf>,
    /// Whom it must be for; nothing where nobody knows how the webhook is called.
    pub host: Option<String>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Texts {
    chain: Vec<u8>,
    key: Vec<u8>,
    ca: Option<Vec<u8>>,
}

/// What it is that they hold.
struct Loaded {
    certificate: ServingCertificate,
    anchors: Anchors,
}

struct Followed {
    files: Files,
    server: Server,
    trusted_cas: watch::Receiver<Vec<CaPem>>,
    texts: Texts,
    loaded: Loaded,
    /// Looks in a row that found something that can't be served with.
    failures: u64,
}

impl Files {
    /// Serves with the files, and takes up their changes for as long as the future
    /// is polled. What is damaged later is logged, and changes nothing.
    ///
    /// # Errors
    /// If they can't be served with now.
    pub fn follow(
        self,
        server: Server,
        trusted_cas: watch::Receiver<Vec<CaPem>>,
    ) -> Result<impl Future<Output = ()> + use<>, CertificateError> {
        let texts = self.read()?;
        let loaded = self.load(&texts)?;
        let mut followed = Followed {
            files: self,
            server,
            trusted_cas,
            texts,
            loaded,
            failures: 0,
        };
        followed.offer();
        Ok(followed.follow())
    }

    fn read(&self) -> Result<Texts, CertificateError> {
        Ok(Texts {
            chain: read(&self.chain)?,
            key: read(&self.key)?,
            ca: self.ca.as_deref().map(read).transpose()?,
        })
    }

    fn load(&self, texts: &Texts) -> Result<Loaded, CertificateError> {
        let (chain, key) = (self.chain.to_string_lossy(), self.key.to_string_lossy());
        let named = |name, text| Named { name, text };
        let certificate =
            ServingCertificate::parse(named(&*chain, &*texts.chain), named(&*key, &*texts.key))?;
        let cas = match (&self.ca, &texts.ca) {
            (Some(path), Some(text)) => CaPem::some_in(&path.to_string_lossy(), text)?,
            _ => Vec::new(),
        };
        certificate.accepted_by(&chain, &cas, self.host.as_deref(), SystemTime::now())?;
        let origin = Origin::Given;
        Ok(Loaded {
            certificate,
            anchors: Anchors { cas, origin },
        })
    }
}

impl Followed {
    async fn follow(mut self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(),
                // Without somebody who keeps a bundle it never changes.
                Ok(()) = self.trusted_cas.changed() => {}
            }
            self.offer();
        }
    }

    fn look(&mut self) {
        let found = self.files.read().and_then(|texts| {
            let loaded = (texts != self.texts).then(|| self.files.load(&texts));
            Ok((texts, loaded.transpose()?))
        });
        match found {
            Ok((texts, Some(loaded))) => {
                (self.texts, self.loaded, self.failures) = (texts, loaded, 0);
                self.server.refuses(false);
            }
            Ok((_, None)) => {
                self.failures = 0;
                self.server.refuses(false);
            }
            Err(error) => {
                self.failures += 1;
                // At the first look, half of a change may be there.
                if self.failures == 2 {
                    self.server.refuses(true);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the certificate's files can't be served with; write right ones; \
                         what was read before is still served"
                    );
                }
            }
        }
    }

    fn offer(&mut self) {
        let offer = Offer {
            certificate: &self.loaded.certificate,
            anchors: self.loaded.anchors.clone(),
        };
        let trusted_cas = self.trusted_cas.borrow_and_update().clone();
        self.server.offer(offer, &trusted_cas, SystemTime::now());
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read {
        path: path.to_owned(),
        source,
    })
}
