//! Where a container's server can be reached. Pure but for the list of this host's addresses.
//!
//! Its own address is better than the published port, whose proxy in user space adds some 90 µs
//! to a request and accepts connections before anybody listens. But an address of a bridge means
//! something only beside that bridge: in another network name space it may be another container.

use std::net::IpAddr;

use bollard::models::NetworkSettings;
use url::Url;

use super::recipe::port_key;

/// Base URLs at which the port may answer, the preferred one first. `here` are this host's own
/// addresses; the container's comes first when its gateway is one of them.
pub(super) fn candidates(found: NetworkSettings, port: u16, here: &[IpAddr]) -> Vec<Url> {
    let published = found
        .ports
        .unwrap_or_default()
        .remove(&port_key(port))
        .flatten()
        .unwrap_or_default()
        .into_iter()
        .find_map(|binding| binding.host_port)
        .map(|port| format!("http://127.0.0.1:{port}/"));
    let networks = found.networks.unwrap_or_default().into_values();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for network in networks {
        let Some(address) = network.ip_address.filter(|text| !text.is_empty()) else {
            continue;
        };
        let gateway = network.gateway.and_then(|text| text.parse().ok());
        let beside = gateway.is_some_and(|gateway: IpAddr| here.contains(&gateway));
        let list = if beside { &mut near } else { &mut far };
        list.push(format!("http://{address}:{port}/"));
    }
    let all = near.into_iter().chain(published).chain(far);
    all.filter_map(|text| Url::parse(&text).ok()).collect()
}

/// This host's own addresses, none where the system does not tell.
pub(super) fn own() -> Vec<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|found| IpAddr::V6(found.ip()))
        })
    })
    .collect()
}

/// Says which of the candidates is used.
pub(super) fn tell(used: &Url, candidates: &[Url]) {
    let published = used.host_str() == Some("127.0.0.1");
    match (candidates.first() == Some(used), published) {
        (true, false) => tracing::info!(url = %used, "the container's own address is used"),
        (true, true) => tracing::info!(url = %used, "the published port is used"),
        (false, true) => {
            tracing::info!(url = %used, "the published port is used: the container's own address cannot be reached from here");
        }
        (false, false) => {
            tracing::info!(url = %used, "kitt runs in a container itself: the engine's own address is used");
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{EndpointSettings, PortBinding};

    use super::*;

    fn settings(gateway: &str, port: Option<&str>) -> NetworkSettings {
        let endpoint = EndpointSettings {
            ip_address: Some("172.17.0.2".into()),
            gateway: Some(gateway.into()),
            ..EndpointSettings::default()
        };
        let binding = port.map(|port| PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(port.into()),
        });
        NetworkSettings {
            networks: Some([("bridge".into(), endpoint)].into()),
            ports: Some([("80/tcp".into(), binding.map(|one| vec![one]))].into()),
            ..NetworkSettings::default()
        }
    }

    fn urls(found: NetworkSettings) -> Vec<String> {
        let here = ["127.0.0.1".parse().unwrap(), "172.17.0.1".parse().unwrap()];
        let urls = candidates(found, 80, &here);
        urls.into_iter().map(|url| url.to_string()).collect()
    }

    #[test]
    fn beside_the_bridge_the_own_address_comes_first() {
        let (own, published) = ("http://172.17.0.2/", "http://127.0.0.1:49153/");
        assert_eq!(
            urls(settings("172.17.0.1", Some("49153"))),
            [own, published]
        );
        // Somebody else's bridge: that address may be anybody here.
        assert_eq!(
            urls(settings("172.18.0.1", Some("49153"))),
            [published, own]
        );
        assert_eq!(urls(settings("", None)), [own]);
        assert!(urls(NetworkSettings::default()).is_empty());
    }

    #[test]
    fn this_host_knows_its_loopback() {
        assert!(own().iter().any(IpAddr::is_loopback));
    }
}
