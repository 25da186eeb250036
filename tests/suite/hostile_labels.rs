//! What two customers' connections are called in Postfix's cache.

use turnabout::handoff::postfix_cache::{Customer, Form, Labels};
use turnabout::smtp::Offer;
use turnabout::smtp::next_hop::NextHop;

/// The cache keeps the way from a next hop to a connection's name after the connection is gone: a second customer
/// from the same address and port must not be found there.
///
/// Rules: C10
#[test]
fn two_customers_from_one_address_and_port_share_no_name() {
    let offer = Offer::default();
    let customer = Customer {
        name: "customer.example.org",
        address: "203.0.113.9:40000".parse().unwrap(),
        offer: &offer,
    };
    for form in [Form::Plain, Form::Port, Form::Needs] {
        let labels = [
            "[127.77.0.1]:2525",
            "[127.77.0.2]:2525",
            "[127.77.0.1]:2526",
        ]
        .map(|hop| {
            let next_hops: [NextHop; 1] = [hop.parse().unwrap()];
            Labels::new(form, "odmr", &next_hops, customer, 0)
        });
        for (index, one) in labels.iter().enumerate() {
            for other in labels.iter().skip(index + 1) {
                assert_ne!(one.endpoint, other.endpoint);
                assert!(
                    !one.destinations
                        .iter()
                        .any(|label| other.destinations.contains(label))
                );
            }
        }
    }
}
