"""What the Embree renderer does around the ray caster: rays, looks, light, edges."""
