//! How many connections a pool has.

use std::rc::Rc;

use super::{Place, Pool};

impl Pool {
    /// Makes room for one more connection, and tells if there was none: the connection
    /// goes that no stream has used for longest. Those in use stay, of which there are no
    /// more than streams.
    pub(in crate::http2) fn make_room(&self) -> bool {
        let places = self.by_endpoint.borrow();
        let counts = places
            .values()
            .map(|place| place.connections.borrow().len());
        if counts.sum::<usize>() < self.limits.pool_max {
            return false;
        }
        let unused_since = |place: &Rc<Place>| {
            let connections = place.connections.borrow();
            let unused = connections.iter().filter(|each| !each.is_used());
            let oldest = unused.min_by_key(|each| each.used.get())?;
            Some((oldest.used.get(), Rc::clone(oldest), Rc::clone(place)))
        };
        let oldest = places.values().filter_map(unused_since);
        if let Some((_, oldest, place)) = oldest.min_by_key(|(since, ..)| *since) {
            let mut connections = place.connections.borrow_mut();
            connections.retain(|each| !Rc::ptr_eq(each, &oldest));
        }
        true
    }
}
