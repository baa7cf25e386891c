//! The four resources that the index is fed from.

use std::fmt::Debug;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::Resource;
use serde::de::DeserializeOwned;

use crate::{
    index::{Changes, Index},
    objects::{
        Endpoints, Key, Parsed, Pod, Service, Slice, endpoints,
        pod::{self, watched::Watched},
        service, slice,
    },
};

/// What the index takes of a resource.
pub(super) trait Source: Sized + Send + 'static {
    /// As the API server has it.
    type Resource: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static;
    /// Its name in URLs, roles, logs and labels.
    const RESOURCE: &'static str;
    /// The task that watches it.
    const WATCH: &'static str;
    /// Labels of the objects that are wanted, if not all are.
    const SELECTOR: Option<&'static str> = None;
    /// How many objects of a list are asked for at a time. A page is held as it came,
    /// twice over: as JSON, and parsed. This many take a few megabytes at their largest.
    const PAGE: u32;

    fn parse(object: &Self::Resource) -> Parsed<Self>;
    /// What its author should hear of.
    fn complaints(&self) -> &[String] {
        &[]
    }
    fn apply(self, index: &mut Index) -> Changes;
    fn delete(key: &Key, index: &mut Index) -> Changes;
    fn reset(all: Vec<Self>, index: &mut Index) -> Changes;
}

impl Source for Service {
    type Resource = core::Service;
    const RESOURCE: &'static str = "services";
    const WATCH: &'static str = "the watch of services";
    const PAGE: u32 = 500;

    fn parse(object: &core::Service) -> Parsed<Self> {
        service::parse(object)
    }

    fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn apply(self, index: &mut Index) -> Changes {
        index.apply_service(self)
    }

    fn delete(key: &Key, index: &mut Index) -> Changes {
        index.delete_service(key)
    }

    fn reset(all: Vec<Self>, index: &mut Index) -> Changes {
        index.reset_services(all)
    }
}

impl Source for Slice {
    type Resource = discovery::EndpointSlice;
    const RESOURCE: &'static str = "endpointslices";
    const WATCH: &'static str = "the watch of endpointslices";
    const PAGE: u32 = 50;

    fn parse(object: &discovery::EndpointSlice) -> Parsed<Self> {
        slice::parse(object)
    }

    fn apply(self, index: &mut Index) -> Changes {
        index.apply_slice(self)
    }

    fn delete(key: &Key, index: &mut Index) -> Changes {
        index.delete_slice(key)
    }

    fn reset(all: Vec<Self>, index: &mut Index) -> Changes {
        index.reset_slices(all)
    }
}

impl Source for Endpoints {
    type Resource = core::Endpoints;
    const RESOURCE: &'static str = "endpoints";
    const WATCH: &'static str = "the watch of endpoints";
    const PAGE: u32 = 50;
    /// The endpoints controller says so of its own since Kubernetes 1.33. It writes
    /// the same into EndpointSlices, in half the bytes. And what is not to be mirrored
    /// into slices is none of kube-proxy's either: locks of leaders, mostly, which
    /// change every few seconds.
    const SELECTOR: Option<&'static str> = Some(
        "endpoints.kubernetes.io/managed-by!=endpoint-controller,\
         endpointslice.kubernetes.io/skip-mirror!=true",
    );

    fn parse(object: &core::Endpoints) -> Parsed<Self> {
        endpoints::parse(object)
    }

    fn apply(self, index: &mut Index) -> Changes {
        index.apply_endpoints(self)
    }

    fn delete(key: &Key, index: &mut Index) -> Changes {
        index.delete_endpoints(key)
    }

    fn reset(all: Vec<Self>, index: &mut Index) -> Changes {
        index.reset_endpoints(all)
    }
}

impl Source for Pod {
    type Resource = Watched;
    const RESOURCE: &'static str = "pods";
    const WATCH: &'static str = "the watch of pods";
    const PAGE: u32 = 100;
    const SELECTOR: Option<&'static str> = Some("netting.dev/injected=true");

    fn parse(object: &Watched) -> Parsed<Self> {
        pod::parse(object)
    }

    fn apply(self, index: &mut Index) -> Changes {
        index.apply_pod(self)
    }

    fn delete(key: &Key, index: &mut Index) -> Changes {
        index.delete_pod(key)
    }

    fn reset(all: Vec<Self>, index: &mut Index) -> Changes {
        index.reset_pods(all)
    }
}
