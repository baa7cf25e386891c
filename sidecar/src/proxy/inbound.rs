//! Connections to the local application.

use std::{io, rc::Rc, sync::Arc};

use tokio::{net::TcpStream, time::Instant};

use super::{Accepted, Proxy, Rest};
use crate::{
    addr::{ClientAddr, OriginalDst},
    detect::Protocol,
    http1::session::Target,
    http2, intercept,
    listener::{self, Door, Listeners},
    protocol::Hint,
    reason::Reason,
    route,
    view::View,
};

/// Proxies connections to the local application.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// What they have in common with outbound ones.
    pub proxy: Proxy,
    /// What is known of the application's ports.
    pub view: Arc<View>,
}

impl Inbound {
    /// Serves until the process ends.
    ///
    /// # Errors
    /// If the listeners cannot be waited for.
    pub async fn serve(self, listeners: Listeners, door: Door) -> io::Result<()> {
        let inbound = Rc::new(self);
        listener::accept(listeners, door, |downstream, client| {
            let inbound = Rc::clone(&inbound);
            async move {
                let dst = intercept::original_dst(&downstream).unwrap_or_default();
                match route::inbound(dst, &inbound.proxy.own) {
                    route::Inbound::Deliver(dst) if intercept::is_own(&downstream, dst) => {
                        inbound.connection(dst, downstream, client).await;
                    }
                    route::Inbound::Deliver(_) => {
                        let reason = Reason::ForeignDestination;
                        inbound.proxy.refuse(downstream, client, dst, reason);
                    }
                    route::Inbound::Refuse(reason) => {
                        inbound.proxy.refuse(downstream, client, dst, reason);
                    }
                }
            }
        })
        .await
    }

    /// One connection to the application, to its end.
    pub(crate) async fn connection(
        &self,
        dst: OriginalDst,
        downstream: TcpStream,
        client: ClientAddr,
    ) {
        let rest = Box::pin(self.begin(dst, downstream, client)).await;
        if let Some(rest) = rest {
            rest.await;
        }
    }

    /// Finds out what it carries; nothing, if it has ended with that.
    async fn begin(
        &self,
        dst: OriginalDst,
        downstream: TcpStream,
        client: ClientAddr,
    ) -> Option<Rest<'_>> {
        let accepted = Accepted {
            downstream,
            client,
            dst,
            since: Instant::now(),
            traffic: self.proxy.traffic.clone(),
        };
        let known = self.view.own(dst);
        let hint = known.and_then(|known| Hint::of(&known.protocol_hint));
        let connect = async || self.proxy.connector.original(dst).await;
        let finder = &self.proxy.finder;
        let found = match finder.find(dst, hint, &accepted.downstream, connect).await {
            Ok(found) => found,
            Err(unfound) => {
                self.proxy.leave(accepted, unfound);
                return None;
            }
        };
        self.proxy.carries(&accepted, &found.protocol);
        let early = (found.upstream, found.begun);
        let protocol = match found.protocol {
            Protocol::Http1 => return Some(self.proxy.http1(accepted, Target::Fixed, early)),
            Protocol::Http2 => {
                let own = http2::session::Target::Fixed(Rc::default());
                return Some(self.proxy.http2(accepted, own, early));
            }
            protocol => protocol,
        };
        let upstream = match early.0 {
            Some(upstream) => Ok(upstream),
            None => self.proxy.connector.original(dst).await,
        };
        match upstream {
            Ok(upstream) => {
                let upstream = (upstream, early.1);
                Some(self.proxy.opaque(accepted, upstream, protocol, ()))
            }
            Err(error) => {
                self.proxy.give_up(accepted, &error);
                None
            }
        }
    }
}
