//! Who gets a volume's files.

use k8s_openapi::api::core::v1::PodSpec;

/// The user and group that a pod's volumes are for.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    /// The user all of the pod's containers run as, if it is the same.
    pub(super) user: Option<u32>,
    /// The pod's `fsGroup`.
    pub(super) group: Option<u32>,
}

impl Owner {
    pub(super) fn of(spec: &PodSpec) -> Self {
        let for_pod = spec.security_context.as_ref();
        let id = |id: i64| u32::try_from(id).ok();
        let containers = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        let mut users = containers.map(|container| {
            let own = container
                .security_context
                .as_ref()
                .and_then(|own| own.run_as_user);
            own.or(for_pod.and_then(|pod| pod.run_as_user)).and_then(id)
        });
        let first = users.next().flatten();
        let user = first.filter(|first| users.all(|user| user == Some(*first)));
        Self {
            user,
            group: for_pod.and_then(|pod| pod.fs_group).and_then(id),
        }
    }

    /// Tokens are for the pod alone when it is known who that is.
    pub(super) fn token_mode(&self, asked: u32) -> u32 {
        match (self.user, self.group) {
            (_, Some(_)) => 0o640,
            (Some(_), None) => 0o600,
            (None, None) => asked,
        }
    }
}
