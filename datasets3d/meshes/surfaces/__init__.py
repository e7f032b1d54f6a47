"""Colors of a surface made of pieces: textures, tints and colors brought together in one mesh."""
