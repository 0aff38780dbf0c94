"""What tells VirtualBox of a box: the machine's hardware in Open Virtualization Format 1.1 (DMTF DSP0243), which its import reads."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

__all__ = ("DISK_FILE", "VAGRANTFILE", "descriptor")

DISK_FILE = "box-disk001.vmdk"
#: The virtio network device is the one that every flavour has a driver for; the import of older versions knows no name for it.
VAGRANTFILE = """  config.vm.provider :virtualbox do |vb|
    vb.check_guest_additions = false
    vb.functional_vboxsf = false
    vb.customize "pre-boot", ["modifyvm", :id, "--nictype1", "virtio"]
  end
"""
# An operating system 96 is "Debian 64-Bit" (CIM_OperatingSystem.OSType). Resource types (CIM_ResourceAllocationSettingData): 3 processor,
# 4 memory, 5 IDE controller, 10 Ethernet adapter, 17 disk drive. The schema has the elements of an item in the alphabet's order.
_DESCRIPTOR = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:id="file" ovf:href="{file}" ovf:size="{size}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:diskId="disk" ovf:fileRef="file" ovf:capacity="{capacity}"
        ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The network that Vagrant needs</Info>
    <Network ovf:name="NAT">
      <Description>Address translation by the host</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id={name}>
    <Info>A guest of nfharness</Info>
    <OperatingSystemSection ovf:id="96">
      <Info>The guest's system</Info>
      <Description>Debian_64</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Its hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:ElementName>processors</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>{processors}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:ElementName>memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>{mebibytes}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:ElementName>ide</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>
        <rasd:ResourceType>5</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>NAT</rasd:Connection>
        <rasd:ElementName>network</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>VirtioNet</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


def descriptor(name: str, *, capacity: int, size: int, processors: int, mebibytes: int) -> str:
    """The text of ``box.ovf``.

    :param name: the machine's
    :param capacity: of the disk, in bytes
    :param size: of the file that holds it, in bytes
    :param mebibytes: of memory
    """
    return _DESCRIPTOR.format(file=DISK_FILE, size=size, capacity=capacity, name=quoteattr(name), processors=processors,
                              mebibytes=mebibytes)  # fmt: skip
