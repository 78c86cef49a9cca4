//! However often it is pressed or sent.

use fantoccini::Locator;
use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};

use super::browser::Browser;
use super::installation::Installation;
use super::student::Student;

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_launches_one_cluster() {
    let mut installation = Installation::started("double", &[]).await;
    let browser = Browser::open("double").await;
    browser.goto(&installation.address()).await;
    browser.until("the button", "return !document.querySelector('[data-testid=launch]').disabled").await;
    let button = browser.page.find(Locator::Id("launch")).await.expect("the button");
    let mut mouse = MouseActions::new("mouse".to_owned()).then(PointerAction::MoveToElement {
        element: button,
        duration: None,
        x: 0.,
        y: 0.,
    });
    for _ in 0..2 {
        mouse = mouse
            .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
            .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
    }
    browser.page.perform_actions(mouse).await.expect("a double click");
    // Where the mouse may be too slow, a script is not.
    browser.run("const b = document.getElementById('launch'); b.click(); b.click();").await;
    browser.until("the way to the notebook", "return location.pathname.includes('/lab')").await;

    let student = Student::with_cookie(installation.listen, browser.cookie(&installation.address()).await);
    let clusters = student.clusters().await;
    assert_eq!(clusters.len(), 1, "{clusters:?}");
    assert_eq!(installation.run_json(&["list", "--all", "--json"]).as_array().map(Vec::len), Some(1));
    browser.close().await;
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_idempotency_key_launches_one_cluster() {
    let mut installation = Installation::started("key", &[]).await;
    let student = Student::new(installation.listen).await;
    let key = Some("00000000-0000-4000-8000-000000000001");
    let (a, b, c) = tokio::join!(student.press(key, 1), student.press(key, 1), student.press(key, 1));
    let later = student.press(key, 1).await;
    for (status, cluster) in [&a, &b, &c, &later] {
        assert_eq!((*status, &cluster["id"]), (202, &a.1["id"]), "{cluster}");
    }
    let (status, refused) = student.press(key, 2).await;
    assert_eq!(status, 422, "the same key for another request: {refused}");
    assert_eq!(student.clusters().await.len(), 1);
    // Keys are each student's own.
    let other = Student::new(installation.listen).await;
    let (status, cluster) = other.press(key, 1).await;
    assert_eq!(status, 202, "{cluster}");
    assert_ne!(cluster["id"], a.1["id"]);
    installation.stop().await;
}
