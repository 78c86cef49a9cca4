//! Who may enter a cluster, and by what it is decided.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use slipway::domain::access::MOST_SHARES;
use slipway::domain::cluster::replay;
use slipway::domain::{
    Access, Command, Door, Event, Keyring, Launch, Refusal, RouteTable, ShareId, Subject, Visitor,
};

use super::samples::{Given, every_phase, id, launch, launched, share, shared, stop_requested, time};

fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

fn number(n: u64) -> ShareId {
    ShareId::from_number(n)
}

fn door(access: Access) -> Door {
    Door { owner: subject("browser:1f0c"), access, shares: [(share(), time(30))].into(), claimed: false }
}

#[test]
fn each_access_admits_its_own_and_nobody_else() {
    let (owner, other) = (subject("browser:1f0c"), subject("browser:2"));
    let guest = Visitor::Guest(share());
    let asked = [
        // visitor, owner, class, public
        (Visitor::Stranger, [false, false, true]),
        (Visitor::Known(&other), [false, true, true]),
        (Visitor::Known(&owner), [true; 3]),
        (Visitor::Admin, [true; 3]),
        (Visitor::Pass, [true; 3]),
        (guest, [true; 3]),
        (Visitor::Guest(number(1)), [false, false, true]),
    ];
    for (visitor, admitted) in asked {
        let said = Access::ALL.map(|access| door(access).admits(visitor, time(29)));
        assert_eq!(said, admitted, "{visitor:?}");
    }
    assert_eq!(
        Access::ALL.map(|access| door(access).admits(guest, time(30))),
        [false, false, true],
        "it has ended"
    );
}

fn visitors() -> impl Strategy<Value = (u8, u64, u32)> {
    (0..6_u8, 0..4_u64, 0..60_u32)
}

proptest! {
    #[test]
    fn what_is_open_to_fewer_admits_nobody_whom_it_would_not_admit_if_open_to_more(
        (kind, n, minute) in visitors(), shares in proptest::collection::btree_map(0..4_u64, 0..60_u32, 0..4),
    ) {
        let (owner, other) = (subject("owner"), subject("other"));
        let visitor = match kind {
            0 => Visitor::Stranger,
            1 => Visitor::Known(&owner),
            2 => Visitor::Known(&other),
            3 => Visitor::Admin,
            4 => Visitor::Pass,
            _ => Visitor::Guest(number(n)),
        };
        let shares: std::collections::BTreeMap<_, _> =
            shares.into_iter().map(|(share, until)| (number(share), time(until))).collect();
        let [to_owner, to_class, to_all] = Access::ALL.map(|access| {
            Door { owner: owner.clone(), access, shares: shares.clone(), claimed: false }.admits(visitor, time(minute))
        });
        prop_assert!(to_all && (to_class || !to_owner));
        let holds = matches!(visitor, Visitor::Guest(share) if shares.get(&share).is_some_and(|at| *at > time(minute)));
        prop_assert_eq!(to_owner, holds || [1, 3, 4].contains(&kind));
    }

    #[test]
    fn a_link_proves_its_own_share_of_its_own_cluster(share in any::<u64>(), other in any::<u64>()) {
        let ring = |byte| Keyring::new(vec![byte; 32]).expect("32 bytes");
        let (share, other) = (number(share), number(other));
        let token = ring(1).share_token(id(), share);
        prop_assert_eq!(ring(1).verify_share(id(), &token), Some(share));
        prop_assert_eq!(ring(2).verify_share(id(), &token), None);
        prop_assert_eq!(ring(1).verify_share("cluster-678344".parse().expect("an id"), &token), None);
        let forged = format!("{other}{}", &token[16..]);
        prop_assert_eq!(ring(1).verify_share(id(), &forged).is_some(), share == other);
        prop_assert_eq!(share.to_string().parse::<ShareId>(), Ok(share));
    }

    #[test]
    fn no_text_is_a_link_by_chance(text in "[0-9a-f.]{0,60}") {
        let ring = Keyring::new(vec![1; 32]).expect("32 bytes");
        prop_assert_eq!(ring.verify_share(id(), &text), None);
        prop_assert!(!ring.verify_pass(id(), None, &text));
    }
}

#[test]
fn a_token_cut_short_drawn_out_or_changed_proves_nothing() {
    let ring = Keyring::new(vec![1; 32]).expect("32 bytes");
    let (link, pass) = (ring.share_token(id(), share()), ring.pass(id(), None));
    assert!(ring.verify_pass(id(), None, &pass) && ring.verify_share(id(), &link).is_some());
    assert_ne!(pass, ring.notebook_token(id()), "a cluster sees this one");
    assert!(!ring.verify_pass("cluster-678344".parse().expect("an id"), None, &pass));
    for token in [&link, &pass] {
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("plain ASCII");
            for wrong in
                [&changed, &token[..at], &format!("{token}0"), &format!("{token}00"), &format!(" {token}")]
            {
                assert!(
                    !ring.verify_pass(id(), None, wrong) && ring.verify_share(id(), wrong).is_none(),
                    "{wrong}"
                );
            }
        }
    }
}

#[test]
fn texts_that_are_none_are_refused_with_the_rule() {
    for wrong in ["", "Owner", "everybody", "owner "] {
        assert!(wrong.parse::<Access>().expect_err(wrong).to_string().contains("owner, class or public"));
    }
    for wrong in ["", "1", "1F0C5A9BE24D7713", "+f0c5a9be24d7713", "1f0c5a9be24d77134", "1f0c5a9be24d771g"] {
        assert!(wrong.parse::<ShareId>().expect_err(wrong).to_string().contains("16 hexadecimal"), "{wrong}");
    }
}

#[test]
fn a_launch_is_open_as_its_profile_says() {
    for (access, events) in [
        (Access::Owner, vec![launched()]),
        (Access::Class, vec![launched(), Event::AccessSet { access: Access::Class }]),
    ] {
        Given::nothing().when(&Command::Launch(Launch { access, ..launch() })).then(&events);
    }
}

#[test]
fn access_is_set_once() {
    let open = Command::SetAccess { access: Access::Public };
    Given::phase("running").when(&open).then(&[Event::AccessSet { access: Access::Public }]);
    Given::phase("running").and(Event::AccessSet { access: Access::Public }).when(&open).then(&[]);
}

fn share_at(minute: u32) -> Command {
    Command::Share { id: share(), until: time(30), now: time(minute) }
}

#[test]
fn a_share_is_made_once_and_revoked_once() {
    Given::phase("waiting").when(&share_at(0)).then(&[shared()]);
    Given::phase("running").and(shared()).when(&share_at(1)).then(&[]);
    let revoke = Command::Unshare { id: share() };
    Given::phase("running").and(shared()).when(&revoke).then(&[Event::Unshared { id: share() }]);
    let gone = Refusal::NoSuchShare { cluster: id(), share: share() };
    Given::phase("running").when(&revoke).then_refused(&gone);
    Given::phase("running").and(shared()).and(Event::Unshared { id: share() }).when(&revoke).then_refused(&gone);
}

#[test]
fn shares_that_have_ended_make_room_for_others() {
    let most = u64::try_from(MOST_SHARES).expect("a small number");
    let full = |until: u32| {
        let shares = (0..most).map(|n| Event::Shared { id: number(n), until: time(until) });
        Given(every_phase().remove(2).1.into_iter().chain(shares).collect())
    };
    full(20).when(&share_at(19)).then_refused(&Refusal::TooManyShares(id()));
    let ended: Vec<Event> = (0..most).map(|n| Event::Unshared { id: number(n) }).chain([shared()]).collect();
    full(20).when(&share_at(20)).then(&ended);
}

#[test]
fn what_has_ended_or_is_not_there_is_neither_opened_nor_shared() {
    let commands = [Command::SetAccess { access: Access::Class }, share_at(0), Command::Unshare { id: share() }];
    for command in &commands {
        for phase in ["failed", "stopping", "gone after a failure", "gone after a stop"] {
            Given::phase(phase).when(command).then_refused(&Refusal::Stopped(id()));
        }
        Given::nothing().when(command).then_refused(&Refusal::Unknown(id()));
    }
}

#[test]
fn only_what_is_wanted_has_a_door() {
    for (name, history) in every_phase() {
        let cluster = replay(id(), &history).expect("it can be").expect("it is there");
        assert_eq!(Door::of(&cluster).is_some(), cluster.phase.is_live(), "{name}");
    }
    let mut table = RouteTable::default();
    table.apply(id(), 1, &launched(), time(0));
    table.apply(id(), 2, &shared(), time(0));
    assert_eq!(table.doors().map(|(_, door)| door.shares.len()).collect::<Vec<_>>(), [1]);
    table.apply(id(), 3, &stop_requested(), time(0));
    table.apply(id(), 4, &shared(), time(0));
    assert_eq!(table.doors().count(), 0, "what comes too late makes none");
}

#[test]
fn a_state_of_an_older_slipway_is_open_to_its_owner() {
    let cluster = replay(id(), &[launched()]).expect("it can be").expect("it is there");
    let mut json = serde_json::to_value(&cluster).expect("it has a JSON form");
    let fields = json.as_object_mut().expect("an object");
    assert!(fields.remove("access").is_some() && fields.remove("shares").is_some());
    assert_eq!(serde_json::from_value::<slipway::domain::Cluster>(json).expect("it can be read"), cluster);
}
