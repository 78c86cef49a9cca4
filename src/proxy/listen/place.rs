//! The address of a proxy: taken early, listened at late, and left without turning anybody away.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted; the kernel allows no more than `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An address that is this process's, though nobody listens there before [`listen`](Self::listen). Until then a
/// client is refused, and whoever balances goes elsewhere, instead of waiting for somebody who is not ready.
#[derive(Debug)]
pub struct Place(Socket);

impl Place {
    /// Takes the address. With `reuse_port` it may belong to several processes of one user at the same time, such
    /// as one that drains and the one that follows it: each gets a part of the connections.
    ///
    /// # Errors
    /// When it is in use, is not this machine's, or needs a privilege.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // What is left of earlier connections does not keep a new process from listening.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self(socket))
    }

    /// # Errors
    /// When the socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket is none of TCP"))
    }

    /// From here on clients can connect. May be called more than once.
    ///
    /// # Errors
    /// When another process came first.
    pub fn listen(&self) -> io::Result<()> {
        self.0.listen(BACKLOG)
    }

    /// The listening socket, which several threads may share.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn into_listener(self) -> io::Result<std::net::TcpListener> {
        self.listen()?;
        Ok(self.0.into())
    }
}

/// Lets no new connection come to this listener; those that have begun to can still be accepted.
///
/// Closing a listener resets the connections that wait in its queue, and those of which only the last packet is
/// missing. So first come no more: a filter drops the packet that begins a connection (SYN and not ACK). The
/// client's kernel sends it again after a second, and it arrives where somebody listens by then.
pub(crate) fn take_no_more(listener: &TcpListener) -> io::Result<()> {
    // In classic BPF, from the TCP header on: byte 13 has the flags, 0x02 is SYN, 0x10 is ACK.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, 0x12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}
