//! A network: an address and the length of its prefix.

use std::{fmt, net::IpAddr, str::FromStr};

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash is no IP address.
    #[error("it is not an IP address with a prefix length")]
    Address,
    /// The prefix is longer than the address.
    #[error("its prefix is longer than the address has bits")]
    Prefix,
    /// Bits behind the prefix are set, so it is not clear what is meant.
    #[error("its address has bits behind the prefix")]
    HostBits,
}

impl Cidr {
    /// Whether the network holds `address`; an IPv4 address that is written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                masked(network.to_bits().into(), 32, self.prefix) == masked(address.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                masked(network.to_bits(), 128, self.prefix) == masked(address.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of `width` bits.
fn masked(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let (bits, width) = match address {
            IpAddr::V4(address) => (address.to_bits().into(), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = match prefix {
            None => width,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| CidrError::Address)?
            }
            Some(_) => return Err(CidrError::Address),
        };
        if prefix > width {
            return Err(CidrError::Prefix);
        }
        let network: u128 = masked(bits, width, prefix).checked_shl(u32::from(width - prefix)).unwrap_or(0);
        if network != bits {
            return Err(CidrError::HostBits);
        }
        // Clients that come as IPv4 in IPv6 are IPv4; so is a network of theirs.
        if let IpAddr::V6(v6) = address
            && let (Some(v4), Some(prefix)) = (v6.to_ipv4_mapped(), prefix.checked_sub(96))
        {
            return Ok(Self { address: v4.into(), prefix });
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
