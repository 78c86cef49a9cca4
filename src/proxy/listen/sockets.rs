//! What the kernel is told of a TCP connection.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Has the kernel ask a silent peer every so often (in whole seconds, one at least) whether it is there, and
/// break off after four such times without an answer; and after `unread`, if that is longer, when what was
/// sent is not taken. On a listener it holds for all connections that it accepts.
pub(crate) fn keep_alive(socket: &impl AsFd, every: Duration, unread: Duration) -> io::Result<()> {
    let (socket, every) = (SockRef::from(socket), every.max(Duration::from_secs(1)));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every).with_retries(3))?;
    socket.set_tcp_user_timeout(Some(unread.max(every * 4)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_listener_accepts_is_kept_alive_as_well() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        keep_alive(&listener, Duration::from_secs(7), Duration::from_secs(60)).expect("known to the kernel");
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().expect("an option"));
        assert_eq!(accepted.tcp_keepalive_time().expect("an option"), Duration::from_secs(7));
        assert_eq!(accepted.tcp_keepalive_interval().expect("an option"), Duration::from_secs(7));
        assert_eq!(accepted.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(60)));
    }
}
