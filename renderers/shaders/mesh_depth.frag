#version 330 core
// Depth alone; the color is not kept.

out vec4 frag_color;

void main()
{
    frag_color = vec4(1.0);
}
