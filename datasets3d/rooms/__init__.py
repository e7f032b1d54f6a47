"""Rooms whose furniture was moved about."""

from datasets3d.rooms.arrangement import arrange
from datasets3d.rooms.furniture import FurnitureMeshes
from datasets3d.rooms.room import Room, make_rooms
from datasets3d.rooms.room_clouds import RoomScan, room_clouds, scan_room

__all__ = [
    "FurnitureMeshes",
    "Room",
    "RoomScan",
    "arrange",
    "make_rooms",
    "room_clouds",
    "scan_room",
]
